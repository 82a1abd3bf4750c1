//! Compiles `csrc/` against the libtorch that torch-sys found, and makes that libtorch findable at run time: for
//! everything that cargo runs, and for this package's own examples, benches and tests when they are started directly.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    // Kernels that the compiler has not optimized are slower than libtorch's operations.
    println!("cargo:rustc-check-cfg=cfg(densenet_unoptimized)");
    if env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!("cargo:rustc-cfg=densenet_unoptimized");
    }
    if env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        return;
    }
    let lib = PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB").unwrap_or_else(|| {
        panic!(
            "torch-sys did not say where libtorch is; densenet needs its dynamic libraries on Linux or macOS, \
             and LIBTORCH_STATIC not set"
        )
    }));
    let include = match env::var_os("LIBTORCH_INCLUDE") {
        Some(root) => PathBuf::from(root).join("include"),
        None => lib.parent().expect("a lib folder has a parent").join("include"),
    };
    check_headers(&include);
    compile(&include);
    make_findable(&lib);
    write_rpath(&lib);
}

/// Stops with a remedy if the folder lacks a header, before the compiler prints pages of errors.
///
/// torch-sys does not check that its libtorch exists, and some packages of libtorch have no headers.
fn check_headers(include: &Path) {
    let headers = ["ATen/Parallel.h", "c10/core/CPUAllocator.h", "torch/csrc/autograd/custom_function.h"];
    let Some(missing) = headers.into_iter().find(|header| !include.join(header).exists()) else { return };
    let remedy = if env::var_os("LIBTORCH_INCLUDE").is_some() {
        "LIBTORCH_INCLUDE must name the folder that holds include/ with libtorch's C++ headers"
    } else if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        "the PyTorch of this Python has no C++ headers; those of `pip install torch` have them"
    } else if env::var_os("LIBTORCH").is_some() {
        "set LIBTORCH to a complete libtorch, whose lib/ and include/ lie side by side, or run densenet's ./setup"
    } else {
        "run densenet's ./setup, or set LIBTORCH to a complete libtorch, or set LIBTORCH_USE_PYTORCH=1 for a pip's torch"
    };
    panic!("libtorch's header {missing} is not in {}: {remedy}", include.display());
}

fn compile(include: &Path) {
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        // Without OpenMP in the compiler, at::parallel_for would silently run on one thread.
        .flag_if_supported("-fopenmp")
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .include("csrc")
        // System headers, so that their warnings are not ours.
        .flag("-isystem")
        .flag(include.to_str().expect("libtorch's path is UTF-8"))
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include").to_str().expect("libtorch's path is UTF-8"))
        .warnings(true)
        .flag("-Werror")
        .files(
            [
                "access",
                "allocator",
                "autocast",
                "autograd",
                "convolution",
                "copy",
                "cuda",
                "finite",
                "memory_format",
                "optim",
                "parallel",
                "random",
                "runtime",
            ]
            .map(|name| format!("csrc/{name}.cpp")),
        )
        .compile("densenet_bridge");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
}

/// Links the libtorch folder into `OUT_DIR` and names it as a search path.
///
/// cargo puts search paths inside its target folder, and no others, on the library path of everything it runs:
/// binaries, tests and doc tests, of this package and of those that depend on it. An rpath (below) reaches neither doc
/// tests nor dependents.
fn make_findable(lib: &Path) {
    let link = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("libtorch");
    if fs::read_link(&link).ok().as_deref() != Some(lib) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(lib, &link)
            .unwrap_or_else(|error| panic!("cannot link {} to {}: {error}", link.display(), lib.display()));
    }
    println!("cargo:rustc-link-search=native={}", link.display());
    // Build scripts of dependents read it as DEP_DENSENET_LIBTORCH_LIB.
    println!("cargo:libtorch_lib={}", lib.display());
}

/// Writes libtorch's folder into the binaries of this package, so that they start without cargo and without
/// `LD_LIBRARY_PATH`: examples, benches, integration tests and the library's unit tests.
///
/// Link arguments do not reach dependents; `./setup --for` writes an rpath into their cargo configuration.
fn write_rpath(lib: &Path) {
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
