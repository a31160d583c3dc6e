//! The data folder that Apache Kafka wrote (`tests/vectors`) as one that ottla opens: every partition
//! as it is, and in `meta.properties` the one line by which ottla knows its own folders. Without it a
//! start is refused, for a folder is not taken from a Kafka that may still be in use.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Kafka's folder is.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The bytes of all segments of one of its partitions, in their order.
pub fn log_bytes(partition: &str) -> Vec<u8> {
    let mut logs: Vec<PathBuf> = entries(&vectors().join(partition))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    logs.sort();
    logs.iter().flat_map(|log| fs::read(log).unwrap()).collect()
}

/// Makes `folder`, and in it a copy that ottla opens.
pub fn lay_out(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for partition in entries(&vectors()).into_iter().filter(|path| path.is_dir()) {
        let copy = folder.join(partition.file_name().unwrap());
        fs::create_dir(&copy).unwrap();
        for file in entries(&partition) {
            fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
    }
    let mut meta = fs::read_to_string(vectors().join("meta.properties")).unwrap();
    meta.push_str("ottla.format=1\n");
    fs::write(folder.join("meta.properties"), meta).unwrap();
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
