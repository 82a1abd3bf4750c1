//! Clients that connect and send nothing, or not all.

use crate::server::{Server, connect, pixels, request, serve, serve_with_open_files};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn clients_that_send_no_request_are_disconnected_in_time() {
    let server = serve("33", &["--head-seconds", "1"]);
    let keep_alive = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for sent in ["", "POST /predict HTTP/1.1\r\nhost: local", keep_alive] {
        let mut stream = connect(server.address);
        stream.write_all(sent.as_bytes()).unwrap();
        let started = Instant::now();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        // The server's limit is one second; the machine may be busy.
        assert!(started.elapsed() < Duration::from_secs(10), "{sent:?}: {:?}", started.elapsed());
        assert_eq!(received.starts_with(b"HTTP/1.1 200"), sent == keep_alive, "{sent:?}");
    }
}

/// Asserts that the server answers within two seconds.
fn answers(server: &Server, while_what: &str) {
    let started = Instant::now();
    assert_eq!(server.health(), 200);
    assert!(started.elapsed() < Duration::from_secs(2), "{while_what}: {:?}", started.elapsed());
}

#[test]
fn silent_clients_do_not_starve_others_of_128_open_files() {
    let server = serve_with_open_files("33", &["--head-seconds", "60", "--body-seconds", "60"], "128");
    for sent in ["", "POST /predict HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{"] {
        let mut silent: Vec<TcpStream> = Vec::new();
        for _ in 0..3 {
            silent.extend((0..100).map(|_| {
                let mut stream = connect(server.address);
                stream.write_all(sent.as_bytes()).unwrap();
                stream
            }));
            answers(&server, "300 silent clients");
        }
        let (status, response) = request(server.address, "POST", "/predict", "application/json", &pixels(0));
        assert_eq!(status, 200, "{response}");
    }
}

#[test]
fn running_out_of_open_files_ends_no_server_and_keeps_no_processor_busy() {
    let server = serve("33", &[]);
    assert_eq!(server.health(), 200);
    let limit_open_files = |files: &str| {
        let id = server.child.id().to_string();
        let limit = format!("--nofile={files}:");
        assert!(std::process::Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
    };
    let seconds = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // User and system time, in hundredths of a second.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    limit_open_files("3");
    let waiting: Vec<TcpStream> = (0..8).map(|_| connect(server.address)).collect();
    let before = seconds();
    std::thread::sleep(Duration::from_secs(1));
    let busy = seconds() - before;
    assert!(busy < 0.3, "{busy} s of processor time in one second");
    limit_open_files("1024");
    answers(&server, "after it ran out of open files");
    drop(waiting);
}
