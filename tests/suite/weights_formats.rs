//! Files that are no weights, and names that are no plain text: what their messages say.

use densenet::error::WeightsProblem;
use densenet::tch::{Device, nn::VarStore};
use densenet::weights::{LoadConfig, inspect, load};
use densenet::{Error, Result};
use std::fs;
use std::path::Path;

/// Loads a file into a variable `a` of two values.
fn loaded(path: &Path, config: &LoadConfig) -> Result<()> {
    let vs = VarStore::new(Device::Cpu);
    let _ = vs.root().zeros("a", &[2]);
    load(&vs, path, config).map(drop)
}

/// The beginning of a tar archive whose first entry has this name.
fn tar(name: &str) -> Vec<u8> {
    let mut header = vec![0; 1024];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[257..262].copy_from_slice(b"ustar");
    header
}

#[test]
fn a_file_of_another_format_is_called_what_it_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 32342954\n";
    let hdf5 = [&b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00"[..], &[0; 100]].concat();
    for (bytes, word) in [
        (&pointer[..], "Git LFS"),
        (b"<!DOCTYPE html>\n<html lang=\"en\">", "HTML"),
        (b"\xef\xbb\xbf\r\n  <HTML><body>404</body></HTML>", "HTML"),
        (b"<html>404</html>", "HTML"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"{\"error\": \"Repository not found\"}", "JSON"),
        // The ninth byte is that of a header.
        (b"{\"data\":{\"message\": \"not found\"}}", "JSON"),
        (&tar("densenet121.pth"), "tar"),
        // The first eight bytes would be the length of a short header.
        (&tar("a"), "tar"),
        (&hdf5, "HDF5"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcbH", "gzip"),
        (b"BZh91AY&SY\x00\x00", "bzip2"),
        (b"\xfd7zXZ\x00\x00\x04\xe6\xd6", "xz"),
        (b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x00", "zstd"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "NumPy"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "GGUF"),
        (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.", "pickle"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = inspect(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::Weights { problem: WeightsProblem::Format { looks_like: Some(_) }, .. }),
            "{word}: {text}"
        );
        assert!(text.contains(word) && text.contains("looks like"), "{text}");
    }
    for bytes in [&[0xff; 4096][..], b"a text without a format"] {
        fs::write(&path, bytes).unwrap();
        let text = inspect(&path).unwrap_err().to_string();
        assert!(text.ends_with("it is neither safetensors nor a file of torch.save"), "{text}");
    }
    fs::write(&path, b"").unwrap();
    assert!(inspect(&path).unwrap_err().to_string().ends_with("it is empty"));
}

/// A safetensors file with this header and four bytes of values.
fn with_header(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat()
}

/// Checks that a text for a terminal has no character that controls it, or writes from right to left.
fn assert_plain(text: &str) {
    assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    assert!(text.contains("\\u{1b}[2J"), "{text}");
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    // Clears the screen, sets the title, and reverses what follows.
    let (name, shown) = ("\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}\u{202e}\n", "\\u{1b}[2J\\u{1b}]0;title");
    let json = serde_json::to_string(name).unwrap();
    let entry = |name: &str, dtype: &str| format!(r#"{name}:{{"dtype":{dtype},"shape":[1],"data_offsets":[0,4]}}"#);
    let (one, twice) = (entry(&json, "\"F32\""), format!("{0},{0}", entry(&json, "\"F32\"")));
    let prefixed = entry(&serde_json::to_string(&format!("{name}a")).unwrap(), "\"F32\"");
    let unexpected = "the model has no ";
    for (header, config, what) in [
        (&one, LoadConfig::new(), unexpected),
        (&twice, LoadConfig::new(), "twice"),
        (&entry("\"a\"", &json), LoadConfig::new(), "no valid JSON"),
        (&prefixed, LoadConfig::new().with_prefix(name), "has shape [1]"),
    ] {
        fs::write(&path, with_header(&format!("{{{header}}}"))).unwrap();
        let text = loaded(&path, &config).unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
        assert_plain(&text);
    }
    fs::write(&path, with_header(&format!("{{{one}}}"))).unwrap();
    let listed = inspect(&path).unwrap();
    assert_eq!(listed[0].name, name, "a program gets the name as it is");
    assert_plain(&listed[0].to_string());
    assert!(listed[0].to_string().contains(shown));
    // Quotes, backslashes and letters of any language are what they are.
    fs::write(&path, with_header(&format!("{{{}}}", entry(r#""\"ä\\b' 重み""#, "\"F32\"")))).unwrap();
    assert!(loaded(&path, &LoadConfig::new()).unwrap_err().to_string().ends_with(r#"the model has no "ä\b' 重み"#));
}
