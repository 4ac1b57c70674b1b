//! Links the program with packed relocations (DT_RELR), which needs glibc 2.36, as the images' base has; and with one copy
//! of functions that are the same instructions: several megabytes less in the image and in memory.

#![expect(clippy::disallowed_methods, reason = "Cargo passes the target to a build script in its environment")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
