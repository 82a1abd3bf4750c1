//! The example as a process, and clients of it.

use densenet::tch::{Device, nn::VarStore};
use densenet::weights::Bundle;
use densenet::{DenseNetConfig, FashionMnist, Preprocess};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const JSON: &str = "application/json";

pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the example with these arguments and images of `side` pixels.
pub fn serve(side: &str, arguments: &[&str]) -> Server {
    serve_with_open_files(side, arguments, "unlimited")
}

/// Starts the example with a limit on its open files.
pub fn serve_with_open_files(side: &str, arguments: &[&str], files: &str) -> Server {
    let bundle = Bundle::new(DenseNetConfig::fashion_mnist())
        .with_classes(FashionMnist::CLASSES)
        .with_preprocess(Preprocess::new().with_size([side.parse().unwrap(); 2]));
    serve_bundle(&bundle, arguments, files)
}

/// Starts the example with the network of a bundle, and a limit on its open files.
pub fn serve_bundle(bundle: &Bundle, arguments: &[&str], files: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    let vs = VarStore::new(Device::Cpu);
    bundle.config.build(&vs.root()).unwrap();
    bundle.save(&vs, &weights).unwrap();
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join("serve");
    let mut command = Command::new("sh");
    let limited = if files == "unlimited" { String::new() } else { format!("ulimit -n {files}; ") };
    command.args(["-c", &format!("{limited}exec \"$@\""), "sh"]).arg(path);
    command.args(["--listen", "127.0.0.1:0", "--weights"]).arg(&weights).args(arguments);
    let mut child = command.env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).spawn().expect("the example is built");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.find_map(|line| line.unwrap().strip_prefix("listening on http://").map(|at| at.parse().unwrap()));
    Server { child, address: address.expect("it listens"), _folder: folder }
}

impl Server {
    /// Makes some predictions, and returns the memory in MiB after that, above which `peak` counts.
    pub fn idle(&self) -> f64 {
        for number in 0..8 {
            assert_eq!(request(self.address, "POST", "/predict", JSON, &pixels(number)).0, 200);
        }
        // The kernel sets the peak to the present memory.
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.memory("VmRSS")
    }

    /// Returns the peak of the memory in MiB above `idle`, and prints it.
    pub fn peak_above(&self, idle: f64, attack: &str) -> f64 {
        let peak = self.memory("VmHWM") - idle;
        println!("{attack}: {peak:.0} MiB above {idle:.0} MiB");
        peak
    }

    fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0
    }

    pub fn health(&self) -> u16 {
        request(self.address, "GET", "/health", JSON, b"").0
    }
}

/// Returns the head of a request whose body has `length` bytes.
pub fn head(method: &str, path: &str, kind: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Connects with a time limit, so that a server that never responds fails a test instead of stopping it.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads a response to its end; `None` where the server closed the connection without one.
pub fn response(stream: &mut TcpStream) -> Option<(u16, Value)> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// Sends a request, and returns status and JSON of the response.
pub fn request(address: SocketAddr, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = connect(address);
    stream.write_all(head(method, path, kind, body.len()).as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    response(&mut stream).expect("a response")
}

/// Returns an image as JSON.
pub fn pixels(number: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..28 * 28).map(|i| ((i + number) % 7) as f32 / 7.0).collect();
    json!({ "shape": [1, 28, 28], "pixels": values }).to_string().into_bytes()
}

/// Returns an image as JSON of at most this many bytes, all of whose pixels are written in the same way.
pub fn many_pixels(bytes: usize, pixel: &str) -> Vec<u8> {
    let count = (bytes - 64) / (pixel.len() + 1);
    let pixels = vec![pixel; count].join(",");
    format!(r#"{{"shape":[1,{count},1],"pixels":[{pixels}]}}"#).into_bytes()
}

/// Returns a gray PNG.
pub fn png(side: u32) -> Vec<u8> {
    encoded(image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 7 + y * 3) as u8])).into())
}

/// Returns a black PNG, which is small however many pixels it has: with one channel of 8 bits, or four of 16.
pub fn black_png(side: u32, deep: bool) -> Vec<u8> {
    let image = if deep { image::DynamicImage::new_rgba16 } else { image::DynamicImage::new_luma8 };
    encoded(image(side, side))
}

fn encoded(image: image::DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}
