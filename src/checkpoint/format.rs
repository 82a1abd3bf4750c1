//! A checkpoint as bytes: a safetensors file with a digest over all of it.

use super::problem::CheckpointProblem;
use crate::tensor_file::{TensorBytes, TensorFile, TensorFileProblem, check_limits, read_head};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Seek};
use tch::Tensor;

/// Version of the format, which is written and is the only one that can be read.
const FORMAT: u64 = 2;

/// Key of the only entry in the file's metadata. There is one entry, because the order of several would not be
/// deterministic.
const KEY: &str = "densenet";

/// The bytes in front of the digest, in JSON within JSON. Keys are sorted, so that they come before any other text.
const BEFORE_DIGEST: &[u8] = br#"{\"digest\":\""#;

/// Hexadecimal digits of a SHA-256.
const DIGEST_LENGTH: usize = 64;

/// Largest header in bytes, which is that of safetensors. The header includes the history of all epochs.
const MAX_HEADER: u64 = 100_000_000;

/// A saved state: named tensors, and everything else as JSON.
#[derive(Debug)]
pub struct Checkpoint {
    /// The state other than tensors, as any JSON value.
    pub state: Value,
    /// The tensors by name; on the CPU after reading.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Serializes the checkpoint; equal checkpoints give equal bytes. They include the SHA-256 of the file with 64
    /// zeros in place of the digest.
    ///
    /// # Errors
    ///
    /// [`CheckpointProblem::Content`] for a tensor whose dtype safetensors does not have.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointProblem> {
        let content = |name: &str, problem: String| CheckpointProblem::Content { name: name.to_owned(), problem };
        check_limits(self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dim())))
            .map_err(|problem| content("the file", problem.to_string()))?;
        let entries = self.tensors.iter().map(|(name, tensor)| {
            Ok((name.clone(), TensorBytes::of(tensor).map_err(|problem| content(name, problem.to_string()))?))
        });
        let entries: BTreeMap<String, TensorBytes> = entries.collect::<Result<_, CheckpointProblem>>()?;
        let metadata = json!({ "digest": "0".repeat(DIGEST_LENGTH), "format": FORMAT, "state": self.state });
        let metadata = HashMap::from([(KEY.to_owned(), metadata.to_string())]);
        let mut bytes =
            safetensors::serialize(entries, Some(metadata)).map_err(|error| content("the file", error.to_string()))?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let place = place_of_digest(&bytes).ok_or(CheckpointProblem::NoDigest)?;
        bytes[place..place + DIGEST_LENGTH].copy_from_slice(digest.as_bytes());
        Ok(bytes)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote: once for the digest, and once more for the tensors.
    ///
    /// # Errors
    ///
    /// A [`CheckpointProblem`] for anything else, even where a single bit differs.
    pub fn read(mut reader: impl Read + Seek) -> Result<Self, CheckpointProblem> {
        let content = |name: &str, problem: String| CheckpointProblem::Content { name: name.to_owned(), problem };
        let of_file = |problem: String| content("the file", problem);
        let head = read_head(&mut reader, MAX_HEADER).map_err(|problem| match problem {
            TensorFileProblem::TruncatedHeader => CheckpointProblem::NoDigest,
            problem => of_file(problem.to_string()),
        })?;
        check_digest(head.clone(), &mut reader)?;
        let mut file = TensorFile::with_head(reader, &head).map_err(|problem| of_file(problem.to_string()))?;
        let text = file.metadata(KEY).ok_or_else(|| of_file(format!("it has no metadata {KEY:?}")))?;
        let mut metadata: Value = serde_json::from_str(text).map_err(|error| of_file(error.to_string()))?;
        if metadata["format"] != FORMAT {
            return Err(CheckpointProblem::Format { found: metadata["format"].to_string(), known: FORMAT });
        }
        let tensors = file.names().into_iter().map(|name| {
            let tensor = file.read(&name).map_err(|problem| content(&name, problem.to_string()))?;
            Ok((name, tensor))
        });
        Ok(Checkpoint { tensors: tensors.collect::<Result<_, CheckpointProblem>>()?, state: metadata["state"].take() })
    }
}

/// Compares the digest in the head with that of the head and the rest of the file.
fn check_digest(mut head: Vec<u8>, rest: &mut impl Read) -> Result<(), CheckpointProblem> {
    let place = place_of_digest(&head).ok_or(CheckpointProblem::NoDigest)?;
    let place = place..place + DIGEST_LENGTH;
    let expected = String::from_utf8_lossy(&head[place.clone()]).into_owned();
    head[place].fill(b'0');
    let mut digest = Sha256::new();
    digest.update(&head);
    let mut part = vec![0; 1 << 20];
    loop {
        match rest.read(&mut part) {
            Ok(0) => break,
            Ok(length) => digest.update(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(CheckpointProblem::Content { name: "the file".to_owned(), problem: error.to_string() });
            }
        }
    }
    let actual = hex::encode(digest.finalize());
    if actual == expected { Ok(()) } else { Err(CheckpointProblem::Digest { expected, actual }) }
}

/// Finds the position of the digest's first digit.
fn place_of_digest(head: &[u8]) -> Option<usize> {
    let before = head.windows(BEFORE_DIGEST.len()).position(|window| window == BEFORE_DIGEST)?;
    let place = before + BEFORE_DIGEST.len();
    (place + DIGEST_LENGTH <= head.len()).then_some(place)
}
