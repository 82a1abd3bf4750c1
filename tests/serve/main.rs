//! The example `serve` under real clients on loopback. Cargo builds it with the feature `serve`.
#![cfg(all(feature = "serve", feature = "download", unix))]

use densenet::tch::{Device, nn::VarStore};
use densenet::weights::save_safetensors;
use densenet::{DenseNetConfig, FashionMnist};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(side: &str, arguments: &[&str]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    let vs = VarStore::new(Device::Cpu);
    DenseNetConfig::fashion_mnist().build(&vs.root()).unwrap();
    save_safetensors(&vs, &weights).unwrap();
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join("serve");
    let mut command = Command::new(path);
    command.args(["--listen", "127.0.0.1:0", "--resize", side, "--weights"]).arg(&weights).args(arguments);
    let mut child = command.env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).spawn().expect("the example is built");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.find_map(|line| line.unwrap().strip_prefix("listening on http://").map(|at| at.parse().unwrap()));
    Server { child, address: address.expect("it listens"), _folder: folder }
}

/// Sends a request, and returns status and JSON of the response.
fn request(address: SocketAddr, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A server that refuses a body may close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn pixels(number: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..28 * 28).map(|i| ((i + number) % 7) as f32 / 7.0).collect();
    json!({ "shape": [1, 28, 28], "pixels": values }).to_string().into_bytes()
}

fn png(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 7 + y * 3) as u8]));
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

const JSON: &str = "application/json";

#[test]
fn images_and_pixels_are_predicted_and_everything_else_is_refused_with_its_status() {
    let server = serve("33", &["--max-bytes", "100000"]);
    let at = server.address;
    assert_eq!(request(at, "GET", "/health", JSON, b""), (200, json!({ "status": "ok" })));
    let (status, response) = request(at, "POST", "/predict", JSON, &pixels(0));
    let predictions = response["predictions"].as_array().unwrap();
    assert!(status == 200 && predictions.len() == 3, "{response}");
    assert!(FashionMnist::CLASSES.contains(&predictions[0]["name"].as_str().unwrap()));
    let probabilities: Vec<f64> = predictions.iter().map(|class| class["probability"].as_f64().unwrap()).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities[0] <= 1.0);
    let (status, response) = request(at, "POST", "/predict?top=10", "image/png", &png(28));
    let sum: f64 =
        response["predictions"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap()).sum();
    assert!(status == 200 && (sum - 1.0).abs() < 1e-6, "{response}");
    let cut = &png(28)[..60];
    for (path, kind, body, expected) in [
        ("/predict", JSON, &b"{"[..], 422),
        ("/predict", JSON, br#"{"shape": [1, 28, 28], "pixels": [1]}"#, 422),
        ("/predict", JSON, br#"{"shape": [2, 1, 1], "pixels": [1, 2]}"#, 422),
        ("/predict", "image/png", b"GIF89a", 422),
        ("/predict", "image/png", cut, 422),
        ("/predict", "image/jpeg", b"\xff\xd8\xff\xe0", 422),
        ("/predict", "text/plain", b"shoe", 415),
        ("/predict?top=x", JSON, b"{}", 400),
        ("/predict", JSON, &[b' '; 200_000], 413),
        ("/elsewhere", JSON, b"", 404),
    ] {
        let (status, response) = request(at, "POST", path, kind, body);
        assert_eq!(status, expected, "{path} {kind}: {response}");
    }
    assert_eq!(request(at, "GET", "/predict", JSON, b"").0, 405);
    assert_eq!(request(at, "GET", "/health", JSON, b"").0, 200, "it is there after all that");
}

#[test]
fn sixty_four_clients_get_the_same_predictions_as_one() {
    let server = serve("33", &[]);
    let at = server.address;
    let top = |number: usize| {
        let (status, response) = request(at, "POST", "/predict?top=1", JSON, &pixels(number));
        assert_eq!(status, 200, "{response}");
        (response["predictions"][0]["class"].clone(), response["predictions"][0]["probability"].as_f64().unwrap())
    };
    let expected: Vec<_> = (0..7).map(top).collect();
    thread::scope(|scope| {
        for client in 0..64 {
            let (top, expected) = (&top, &expected);
            scope.spawn(move || {
                for round in 0..8 {
                    let number = (client + round) % 7;
                    let (class, probability) = top(number);
                    assert!(class == expected[number].0 && (probability - expected[number].1).abs() < 1e-5);
                }
            });
        }
    });
}

#[test]
fn a_full_queue_is_status_503_and_the_other_requests_succeed() {
    let server = serve("96", &["--queue", "2", "--batch-size", "1"]);
    let at = server.address;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..64).map(|n| scope.spawn(move || request(at, "POST", "/predict", JSON, &pixels(n)).0)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    assert_eq!(request(at, "GET", "/health", JSON, b"").0, 200);
}

#[test]
fn a_signal_ends_the_server_after_accepted_requests_and_despite_idle_clients() {
    for signal in ["-INT", "-TERM"] {
        let mut server = serve("33", &["--grace-seconds", "1"]);
        let at = server.address;
        let _idle = TcpStream::connect(at).unwrap();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..16).map(|n| scope.spawn(move || request(at, "POST", "/predict", JSON, &pixels(n)).0)).collect();
            thread::sleep(Duration::from_millis(150));
            let id = server.child.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
        let started = Instant::now();
        let status = loop {
            if let Some(status) = server.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "it does not end");
            thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status:?}");
    }
}
