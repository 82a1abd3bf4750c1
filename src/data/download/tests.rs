//! Downloads from a server on this machine: accepted content, and the error of each failure. The file is long since each
//! failure needs a server of its own.

use super::*;
use crate::error::{ConfigError, DataError, IdxProblem, IoError};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// The server's response to a request.
enum Response {
    /// These bytes, the head of the response included; then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing until the server ends.
    Stall(Vec<u8>),
    /// One byte after the other, never ending.
    Drip,
}

/// A server on a free port. It ends when it is dropped.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(respond: impl Fn(&str) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/data", listener.local_addr().unwrap());
        let (requests, stopped) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (log, stop) = (Arc::clone(&requests), Arc::clone(&stopped));
        let serve = move || {
            while !stop.load(SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        // The server does not care about a client that goes away in the middle.
                        let _ = talk(stream, &log, &respond, &stop);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        };
        Server { url, requests, stopped, thread: Some(thread::spawn(serve)) }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the server panicked");
    }
}

fn talk(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    respond: &impl Fn(&str) -> Response,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(path.clone());
    match respond(&path) {
        Response::Bytes(bytes) => stream.write_all(&bytes),
        Response::Stall(bytes) => {
            stream.write_all(&bytes)?;
            while !stop.load(SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        }
        Response::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            while !stop.load(SeqCst) {
                stream.write_all(b"x")?;
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
    }
}

/// A response with the length of its body, of which only the first `sent` bytes come.
fn response_cut(status: &str, body: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), &body[..sent]].concat()
}

fn response(status: &str, body: &[u8]) -> Response {
    Response::Bytes(response_cut(status, body, body.len()))
}

/// A response whose end is the end of the connection.
fn response_without_length(body: &[u8]) -> Response {
    Response::Bytes([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body].concat())
}

/// Three labels as an IDX file.
const CONTENT: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
const SHA256: &str = "e660eb3c65f6f20ad59af8d770abce5d8a3aa1cb11cb12eb3a1f5215b9fac6a9";

fn labels(name: &'static str) -> KnownFile {
    KnownFile { name, bytes: CONTENT.len() as u64, sha256: SHA256 }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn download(mirrors: &[&str]) -> Download {
    Download {
        dataset: "Labels",
        files: vec![labels("labels")],
        mirrors: mirrors.iter().map(|&url| url.to_owned()).collect(),
        stall_timeout: Duration::from_millis(300),
        ..Download::fashion_mnist()
    }
}

/// As above, for two files.
fn download_two(mirror: &str) -> Download {
    Download { files: vec![labels("labels"), labels("more")], ..download(&[mirror]) }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[test]
fn good_file_is_kept_and_not_fetched_again() {
    let server = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/folder");
    let config = download_two(&server.url);
    assert_eq!(config.fetch_into(&target).unwrap(), target);
    assert_eq!(names(&target), ["labels.gz", "more.gz"]);
    assert_eq!(fs::read(target.join("labels.gz")).unwrap(), gzip(&CONTENT));

    config.fetch_into(&target).unwrap();
    assert_eq!(server.requests(), ["/data/labels.gz", "/data/more.gz"]);
    fs::remove_file(target.join("more.gz")).unwrap();
    config.fetch_into(&target).unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn file_without_a_length_or_in_chunks_is_as_good() {
    let chunked = |body: &[u8]| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (first, rest) = body.split_at(10);
        let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        Response::Bytes([head.as_bytes(), &chunk(first), &chunk(rest), b"0\r\n\r\n"].concat())
    };
    let server = Server::new(move |path| match path {
        "/data/labels.gz" => response_without_length(&gzip(&CONTENT)),
        _ => chunked(&gzip(&CONTENT)),
    });
    let folder = tempfile::tempdir().unwrap();
    download_two(&server.url).fetch_into(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["labels.gz", "more.gz"]);
}

/// The problem of the only mirror, which responds in this way; nothing may be left in the folder.
fn problem_with(response: impl Fn() -> Response + Send + 'static) -> Error {
    let server = Server::new(move |_| response());
    let folder = tempfile::tempdir().unwrap();
    let error = download(&[&server.url]).fetch_into(folder.path()).unwrap_err();
    assert_eq!(names(folder.path()), [""; 0]);
    let text = error.to_string();
    let Error::Data(DataError::Download { name, mut attempts }) = error else { panic!("{error:?}") };
    assert_eq!((&*name, attempts.len()), ("labels", 1));
    let (url, problem) = attempts.remove(0);
    assert_eq!(url, format!("{}/labels.gz", server.url));
    assert!(text.contains(&url) && text.contains(&problem.with_causes()), "{text}");
    problem
}

#[test]
fn download_cut_short_of_its_announced_length_is_an_error() {
    let whole = gzip(&CONTENT);
    for sent in [0, 1, 10, whole.len() - 1] {
        let whole = whole.clone();
        let problem = problem_with(move || Response::Bytes(response_cut("200 OK", &whole, sent)));
        assert!(matches!(problem, Error::Data(DataError::Connection { .. })), "{sent}: {problem}");
    }
}

#[test]
fn download_cut_short_without_a_length_is_an_error() {
    let whole = gzip(&CONTENT);
    for sent in [0, 1, 10, whole.len() - 1] {
        let part = whole[..sent].to_vec();
        let problem = problem_with(move || response_without_length(&part));
        assert!(
            matches!(problem, Error::Data(DataError::DamagedGzip { .. } | DataError::Idx { .. })),
            "{sent}: {problem:?}"
        );
    }
}

#[test]
fn web_page_with_status_200_is_an_error() {
    let problem = problem_with(|| response("200 OK", b"<!DOCTYPE html><title>Sign in to this network</title>"));
    assert!(matches!(problem, Error::Data(DataError::Idx { problem: IdxProblem::WebPage, .. })), "{problem:?}");
}

#[test]
fn status_other_than_200_is_an_error_even_with_the_right_body() {
    for status in [204, 206, 302, 404, 500] {
        let line = format!("{status} Whatever");
        let problem = problem_with(move || response(&line, &gzip(&CONTENT)));
        assert!(
            matches!(problem, Error::Data(DataError::ServerStatus { status: s }) if s == status),
            "{status}: {problem:?}"
        );
    }
}

#[test]
fn other_content_is_an_error() {
    let mut other = CONTENT;
    other[9] = 7;
    let problem = problem_with(move || response("200 OK", &gzip(&other)));
    assert!(
        matches!(&problem, Error::Data(DataError::OtherContent { expected, .. }) if expected == SHA256),
        "{problem:?}"
    );
}

#[test]
fn endless_body_is_cut_off_at_what_the_file_can_have() {
    fn endless() -> Vec<u8> {
        [gzip(&CONTENT), vec![0; 1 << 20]].concat()
    }
    let responses: [fn() -> Response; 2] = [|| response("200 OK", &endless()), || response_without_length(&endless())];
    for response in responses {
        let problem = problem_with(response);
        let Error::Data(DataError::DownloadTooLarge { limit_bytes }) = problem else { panic!("{problem:?}") };
        assert!(limit_bytes < 10_000, "{limit_bytes}");
    }
}

#[test]
fn stalling_server_is_given_up() {
    let begin = Instant::now();
    let whole = gzip(&CONTENT);
    let half = response_cut("200 OK", &whole, 10);
    for start in [Vec::new(), b"HTTP/1.1 200".to_vec(), half] {
        let problem = problem_with(move || Response::Stall(start.clone()));
        assert!(matches!(problem, Error::Data(DataError::Connection { .. })), "{problem:?}");
    }
    // Three times 0.3 seconds; the rest is for a busy machine, and well below the 30 minutes that a file may take.
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn server_that_never_stalls_but_never_ends_is_given_up() {
    let server = Server::new(|_| Response::Drip);
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let error = Download { file_timeout: Duration::from_millis(500), ..download(&[&server.url]) }
        .fetch_into(folder.path())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Data(DataError::Download { attempts, .. })
        if matches!(attempts[0].1, Error::Data(DataError::Connection { .. }))),
        "{error:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn next_mirror_is_tried_when_one_fails() {
    let broken = Server::new(|_| response("500 Internal Server Error", b"sorry"));
    let page = Server::new(|_| response("200 OK", b"<html></html>"));
    let good = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let unreachable = "http://127.0.0.1:1/"; // no server has this port
    let folder = tempfile::tempdir().unwrap();
    download(&[unreachable, &broken.url, &page.url, &good.url]).fetch_into(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["labels.gz"]);
    assert_eq!([&broken, &page, &good].map(|server| server.requests().len()), [1, 1, 1]);
}

#[test]
fn error_lists_the_problem_of_each_mirror() {
    let broken = Server::new(|_| response("500 Internal Server Error", b"sorry"));
    let page = Server::new(|_| response("200 OK", b"<html></html>"));
    let folder = tempfile::tempdir().unwrap();
    let text =
        download(&["http://127.0.0.1:1/", &broken.url, &page.url]).fetch_into(folder.path()).unwrap_err().to_string();
    for part in ["labels", "127.0.0.1:1/labels.gz", "refused", &broken.url, "500", &page.url, "web page"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn damaged_file_is_replaced_and_another_data_sets_is_left_alone() {
    let server = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.gz");
    let whole = gzip(&CONTENT);
    for damaged in [&whole[..whole.len() - 1], &CONTENT[..10], b"<html></html>", b""] {
        fs::write(&path, damaged).unwrap();
        download(&[&server.url]).fetch_into(folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    assert_eq!(server.requests().len(), 4);

    let other = gzip(&[0, 0, 8, 1, 0, 0, 0, 1, 5]);
    fs::write(&path, &other).unwrap();
    assert!(matches!(
        download(&[&server.url]).fetch_into(folder.path()),
        Err(Error::Data(DataError::OtherContent { .. }))
    ));
    assert_eq!(fs::read(&path).unwrap(), other);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn failed_download_leaves_the_file_that_was_there() {
    let server = Server::new(|_| response("200 OK", b"<html></html>"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.gz");
    fs::write(&path, b"damaged").unwrap();
    assert!(download(&[&server.url]).fetch_into(folder.path()).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"damaged");
    assert_eq!(names(folder.path()), ["labels.gz"]);
}

#[test]
fn temporary_files_of_killed_downloads_do_no_harm_and_old_ones_are_removed() {
    let server = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let folder = tempfile::tempdir().unwrap();
    let [fresh, old, others] = [".labels.gz.tmp-1-00ff", ".labels.gz.tmp-1-01ff", ".other.gz.tmp-1-01ff"];
    for (name, hours) in [(fresh, 23), (old, 25), (others, 25)] {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 60 * 60)).unwrap();
    }
    download(&[&server.url]).fetch_into(folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("labels.gz")).unwrap(), gzip(&CONTENT));
    // Another program may still be writing the fresh one.
    assert_eq!(names(folder.path()), [fresh, others, "labels.gz"]);
}

#[test]
fn plain_http_is_refused_unless_the_mirror_is_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["http://example.org/", "http://127.0.0.1.example.org/", "ftp://127.0.0.1/", "labels", "", "https://"] {
        let error = download(&[url]).fetch_into(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Config(ConfigError::InvalidValue { field: "mirror", .. })), "{url}: {error:?}");
    }
    for mirror in Download::fashion_mnist().mirrors {
        assert!(mirror.starts_with("https://"), "{mirror}");
    }
}

#[test]
fn redirect_of_a_plain_http_mirror_is_not_followed() {
    let elsewhere = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let to = elsewhere.url.clone();
    let problem = problem_with(move || {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Response::Bytes(head.into_bytes())
    });
    assert!(
        matches!(problem, Error::Data(DataError::ServerStatus { status: 302 } | DataError::Connection { .. })),
        "{problem:?}"
    );
    assert_eq!(elsewhere.requests(), [""; 0]);
}

#[test]
fn file_where_the_folder_should_be_is_an_error_before_any_request() {
    let server = Server::new(|_| response("200 OK", &gzip(&CONTENT)));
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, b"mine").unwrap();
    let error = download(&[&server.url]).fetch_into(&taken).unwrap_err();
    assert!(matches!(&error, Error::Io(IoError::Failed { path, .. }) if *path == taken), "{error:?}");
    assert_eq!((fs::read(&taken).unwrap(), server.requests().len()), (b"mine".to_vec(), 0));
}
