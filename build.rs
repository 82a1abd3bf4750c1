//! Compiles `csrc/` against the libtorch that torch-sys found, and makes that libtorch findable at run time.

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
        panic!("torch-sys did not say where libtorch is; densenet needs its dynamic libraries on Linux or macOS")
    }));
    let include = match env::var_os("LIBTORCH_INCLUDE") {
        Some(root) => PathBuf::from(root).join("include"),
        None => lib.parent().expect("a lib folder has a parent").join("include"),
    };
    assert!(
        include.join("ATen/ATen.h").exists(),
        "{} holds no ATen/ATen.h: run ./setup, or set LIBTORCH to a complete libtorch",
        include.display()
    );
    compile(&include);
    make_findable(&lib);
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
                "allocator",
                "autocast",
                "autograd",
                "convolution",
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
/// cargo puts search paths inside its target folder, and no others, on the library path of everything it runs: binaries,
/// tests and doc tests, of this package and of those that depend on it. Link arguments such as an rpath do not reach that
/// far.
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
