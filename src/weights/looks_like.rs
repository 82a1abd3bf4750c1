//! What a file is that is no file of weights, by the bytes that it begins with.

/// Number of bytes of the beginning that decide.
pub(super) const HEAD: u64 = 512;

/// Bytes that files of other formats begin with.
const SIGNATURES: [(&[u8], &str); 9] = [
    (b"version https://git-lfs", "a pointer of Git LFS, whose content `git lfs pull` fetches"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"GGUF", "a GGUF file"),
    // With the feature, these are read.
    (b"PK\x03\x04", "a zip archive, such as torch.save writes: the feature `pth` reads those"),
];

/// What a pickle is that is not read.
const PICKLE: &str = if cfg!(feature = "pth") {
    "a pickle that torch.save did not write"
} else {
    "a pickle: the feature `pth` reads those of torch.save"
};

/// Beginnings of texts, in lowercase.
const TEXTS: [(&str, &str); 4] = [
    ("<!doctype html", "an HTML page, such as a message of a server"),
    ("<html", "an HTML page, such as a message of a server"),
    ("<?xml", "an XML document, such as a message of a server"),
    ("{", "a JSON text, such as a message of a server"),
];

/// Describes the format of a file with this beginning; `None` for an unknown one.
pub(super) fn looks_like(head: &[u8]) -> Option<&'static str> {
    if let Some((_, format)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        return Some(format);
    }
    // The first entry of a tar archive has this in its header.
    if head.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    if matches!(head, [0x80, 0..=5, ..]) {
        return Some(PICKLE);
    }
    let text = String::from_utf8_lossy(head).trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_lowercase();
    TEXTS.iter().find(|(beginning, _)| text.starts_with(beginning)).map(|&(_, format)| format)
}
