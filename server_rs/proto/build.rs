//! Compiles the protocol and the messages of the journal with protox, so that nobody needs protoc.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use prost::Message as _;

const ROOT: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(files("snakepit_bridge/v1")?, [ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Ordered maps: the bytes of a request are hashed to recognise a repeat.
    tonic_prost_build::configure().btree_map(".").bytes(".").compile_fds(descriptors)?;
    let journal = protox::compile(files("snakepit_bridge/journal/v1")?, [ROOT])?;
    // Apart, because what is extern is written as an empty file.
    fs::create_dir_all(out.join("journal"))?;
    tonic_prost_build::configure()
        .out_dir(out.join("journal"))
        .btree_map(".")
        .bytes(".")
        .extern_path(".snakepit_bridge.v1", "crate::v1")
        .compile_fds(journal)?;
    Ok(())
}

fn files(directory: &str) -> io::Result<Vec<PathBuf>> {
    let directory = Path::new(ROOT).join(directory);
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut files = fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    files.sort();
    Ok(files)
}
