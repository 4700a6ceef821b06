//! Compiles the protocol with protox, so that nobody needs protoc.

use std::{env, error::Error, fs, path::Path};

use prost::Message as _;

const ROOT: &str = "../proto";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(ROOT).join("snakepit_bridge/v1");
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        println!("cargo:rerun-if-changed={}", path.display());
        files.push(path);
    }
    files.sort();
    let descriptors = protox::compile(&files, [ROOT])?;
    let out = Path::new(&env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    // Ordered maps: the bytes of a request are hashed to recognise a repeat.
    tonic_prost_build::configure().btree_map(".").bytes(".").compile_fds(descriptors)?;
    Ok(())
}
