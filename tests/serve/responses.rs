//! Predictions, and the status of what is refused.

use crate::server::{JSON, connect, head, pixels, png, request, response, serve};
use densenet::FashionMnist;
use serde_json::json;
use std::io::{Read, Write};
use std::thread;

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
        assert!(response["error"].as_str().is_some_and(|error| error.len() > 10), "{path} {kind}: {response}");
    }
    let (status, response) = request(at, "GET", "/predict", JSON, b"");
    assert!(status == 405 && response["error"].is_string(), "{status} {response}");
    assert_eq!(server.health(), 200, "it is there after all that");
}

#[test]
fn content_types_are_read_whatever_their_case_and_parameters() {
    let server = serve("33", &[]);
    for (kind, body) in [
        ("Application/JSON", pixels(0)),
        ("application/json;charset=utf-8", pixels(0)),
        ("image/PNG", png(28)),
        ("IMAGE/png ; name=shoe", png(28)),
        ("image/jpg", jpeg()),
        ("image/jpeg", jpeg()),
    ] {
        let (status, response) = request(server.address, "POST", "/predict", kind, &body);
        assert_eq!(status, 200, "{kind}: {response}");
    }
}

fn jpeg() -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(&[0; 28 * 28], 28, 28, jpeg_encoder::ColorType::Luma).unwrap();
    bytes
}

#[test]
fn a_client_sees_413_after_it_has_sent_all_of_a_body_that_is_too_large() {
    let server = serve("33", &[]);
    let body = vec![b' '; 24 << 20];
    for _ in 0..4 {
        // It writes the whole body without an error.
        let (status, response) = request(server.address, "POST", "/predict", JSON, &body);
        assert!(status == 413 && response["error"].as_str().unwrap().contains("8388608"), "{status} {response}");
    }
    let mut stream = connect(server.address);
    let head = head("POST", "/predict", JSON, 0).replace("content-length: 0", "transfer-encoding: chunked");
    stream.write_all(head.as_bytes()).unwrap();
    for part in body.chunks(1 << 20) {
        write!(stream, "{:x}\r\n", part.len()).unwrap();
        stream.write_all(part).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(response(&mut stream).unwrap().0, 413);
}

#[test]
fn a_chunked_body_is_predicted_and_a_client_that_expects_to_continue_is_told_so() {
    let server = serve("33", &[]);
    let body = pixels(0);
    let mut stream = connect(server.address);
    let chunked = head("POST", "/predict", JSON, 0).replace("content-length: 0", "transfer-encoding: chunked");
    write!(stream, "{chunked}{:x}\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").unwrap();
    assert_eq!(response(&mut stream).unwrap().0, 200);
    for (length, expected) in [(body.len(), 100), (100 << 20, 413)] {
        let mut stream = connect(server.address);
        let expecting = head("POST", "/predict", JSON, length).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        stream.write_all(expecting.as_bytes()).unwrap();
        if expected == 100 {
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"HTTP/1.1 100");
            stream.write_all(&body).unwrap();
        } else {
            assert_eq!(response(&mut stream).unwrap().0, expected);
        }
    }
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
