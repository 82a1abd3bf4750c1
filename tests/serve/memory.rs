//! Peaks of the server's memory under clients that want too much of it. Each bound is what the limits in the test add
//! up to, and 40 MiB for what is not counted: buffers of connections, stacks, and what the allocator keeps.

use crate::server::{JSON, black_png, connect, head, many_pixels, png, request, response, serve};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Pixels per side of the largest image that is accepted: 8 megapixels.
const SIDE: u32 = 2896;

#[test]
fn sixty_clients_that_hold_back_the_last_byte_of_8_mib_get_a_response_and_share_the_memory_for_bodies() {
    let server = serve("33", &["--body-seconds", "2", "--wait-seconds", "1"]);
    let (at, idle, body) = (server.address, server.idle(), vec![b' '; 8 << 20]);
    let statuses: Vec<Option<u16>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..60)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = connect(at);
                    stream.write_all(head("POST", "/predict", JSON, body.len()).as_bytes()).unwrap();
                    // The server may refuse it before the end.
                    let _ = stream.write_all(&body[1..]);
                    response(&mut stream).map(|(status, _)| status)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, Some(408 | 503))), "{statuses:?}");
    assert!(statuses.contains(&Some(408)) && statuses.contains(&Some(503)), "{statuses:?}");
    let peak = server.peak_above(idle, "60 bodies of 8 MiB without their last byte");
    assert!(peak < 64.0 + 40.0, "{peak}");
    assert_eq!(server.health(), 200);
}

/// Sends a body from one client after the other, each of which leaves when decoding may have begun.
fn sent_and_left(clients: usize, body: &[u8], attack: &str) -> f64 {
    let server = serve("33", &[]);
    let (at, idle) = (server.address, server.idle());
    for _ in 0..clients {
        let mut stream = connect(at);
        stream.write_all(head("POST", "/predict", "image/png", body.len()).as_bytes()).unwrap();
        let _ = stream.write_all(body);
        thread::sleep(Duration::from_millis(30));
    }
    // Behind the others in the queue for memory.
    assert!([200, 503].contains(&request(at, "POST", "/predict", "image/png", &png(SIDE)).0));
    server.peak_above(idle, attack)
}

#[test]
fn images_of_64_megapixels_whose_clients_leave_are_not_decoded() {
    let peak = sent_and_left(24, &black_png(8192, false), "24 images of 64 megapixels, clients leave");
    // One valid image of 8 megapixels as bytes, decoded and as f32 twice.
    assert!(peak < 100.0 + 40.0, "{peak}");
}

#[test]
fn clients_that_leave_do_not_escape_the_limit_of_memory_for_decoding() {
    let peak =
        sent_and_left(24, &black_png(SIDE, true), "24 images of 8 megapixels in 4 channels of 16 bits, clients leave");
    // The memory for decoding, and that of the predictor: images of 8 megapixels in the queue and as f32 twice.
    assert!(peak < 160.0 + 100.0 + 40.0, "{peak}");
}

#[test]
fn a_hundred_and_twenty_eight_images_of_8_megapixels_at_once_share_the_memory_for_decoding() {
    let server = serve("33", &[]);
    let (at, idle, body) = (server.address, server.idle(), png(SIDE));
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..128).map(|_| scope.spawn(|| request(at, "POST", "/predict", "image/png", &body).0)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let count = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    println!("{} predictions, {} times 503", count(200), count(503));
    assert!(count(200) >= 8 && count(200) + count(503) == 128, "{statuses:?}");
    let peak = server.peak_above(idle, "128 images of 8 megapixels at once");
    assert!(peak < 160.0 + 100.0 + 40.0, "{peak}");
}

#[test]
fn health_is_answered_while_200_bodies_of_json_are_parsed() {
    let server = serve("33", &["--wait-seconds", "1"]);
    let (at, idle, body) = (server.address, server.idle(), many_pixels(7_600_000, "0.123"));
    assert_eq!(request(at, "POST", "/predict", JSON, &body).0, 200);
    let done = AtomicBool::new(false);
    let (statuses, slowest) = thread::scope(|scope| {
        let health = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                let started = Instant::now();
                assert_eq!(server.health(), 200);
                slowest = slowest.max(started.elapsed());
                thread::sleep(Duration::from_millis(20));
            }
            slowest
        });
        let clients: Vec<_> =
            (0..200).map(|_| scope.spawn(|| request(at, "POST", "/predict", JSON, &body).0)).collect();
        let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        (statuses, health.join().unwrap())
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)) && statuses.contains(&200), "{statuses:?}");
    println!("slowest response of /health: {slowest:?}");
    // The clients compete for the processor too; parsing on the server's own thread takes eight seconds.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let peak = server.peak_above(idle, "200 bodies of 7.6 MB of JSON");
    assert!(peak < 64.0 + 160.0 + 100.0 + 40.0, "{peak}");
}

#[test]
fn bodies_of_json_with_four_million_values_share_the_memory_for_images() {
    // All bodies arrive, so that the memory for images is what limits them.
    let server = serve("33", &["--wait-seconds", "1", "--body-memory", "512"]);
    let (at, idle, body) = (server.address, server.idle(), many_pixels(8 << 20, "0"));
    thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| assert!([200, 503].contains(&request(at, "POST", "/predict", JSON, &body).0)));
        }
    });
    let peak = server.peak_above(idle, "60 bodies of JSON with 4 million values");
    assert!(peak < 60.0 * 8.0 + 160.0 + 100.0 + 40.0, "{peak}");
}

#[test]
fn images_and_batches_of_many_sizes_do_not_grow_the_server() {
    let server = serve("33", &[]);
    let (at, idle) = (server.address, server.idle());
    thread::scope(|scope| {
        for client in 0..32 {
            scope.spawn(move || {
                for number in 0..40 {
                    assert_eq!(request(at, "POST", "/predict", "image/png", &png(20 + (client * number) % 97)).0, 200);
                }
            });
        }
    });
    let peak = server.peak_above(idle, "1280 images of 97 sizes in batches of up to 32");
    // Within what is not counted, although every size of a batch compiles the network's 21 convolutions anew.
    assert!(peak < 40.0, "{peak}");
    let environment = std::fs::read(format!("/proc/{}/environ", server.child.id())).unwrap();
    for setting in ["ONEDNN_PRIMITIVE_CACHE_CAPACITY=", "LRU_CACHE_CAPACITY=", "MALLOC_MMAP_THRESHOLD_="] {
        let is_set = environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(setting.as_bytes()));
        assert!(is_set, "{setting} is not set");
    }
}

#[test]
fn four_hundred_clients_with_heads_of_300_kib_that_do_not_end_take_little_memory() {
    let server = serve("33", &[]);
    let idle = server.idle();
    let mut head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec();
    head.resize(300 << 10, b'x');
    let clients: Vec<_> = (0..400)
        .map(|_| {
            let mut stream = connect(server.address);
            // The server refuses it before the end.
            let _ = stream.write_all(&head);
            stream
        })
        .collect();
    assert_eq!(server.health(), 200);
    let peak = server.peak_above(idle, "400 heads of 300 KiB without their end");
    // A buffer of 16 KiB each, and as much for everything else.
    assert!(peak < 400.0 * 32.0 / 1024.0 + 10.0, "{peak}");
    drop(clients);
}
