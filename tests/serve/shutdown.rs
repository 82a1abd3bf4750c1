//! The end of the server.

use crate::server::{JSON, pixels, request, serve};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

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
