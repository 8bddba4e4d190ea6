//! Authorities that are not Let's Encrypt's and not ours: where their programs are.
//!
//! They come from PyPI, in versions that are pinned, into a folder of the project's own (`make setup`).

use std::path::Path;
use std::path::PathBuf;

use crate::certs::CertificateAuthority;
use crate::certs::LeafContent;
use time::macros::datetime;

/// Below the folder of the project.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/foreign");

/// A program of the Python environment; a test that needs one which is not there fails and says what to do.
pub fn script(name: &str) -> PathBuf {
    known(Path::new(FOLDER).join("bin").join(name))
}

/// A file of a Python package.
pub fn of_package(path: &str) -> PathBuf {
    let versions = std::fs::read_dir(Path::new(FOLDER).join("lib"));
    let mut versions = versions.into_iter().flatten().flatten();
    let packages = versions.next().map(|version| version.path());
    known(packages.unwrap_or_default().join("site-packages").join(path))
}

fn known(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not there: run `make setup`", path.display());
    path
}

/// Writes what the web server of an authority shows: `cert.pem` and `key.pem` in its folder.
pub fn write_pair(tls: &CertificateAuthority, folder: &Path) {
    let content = LeafContent::new(
        &["127.0.0.1", "localhost"],
        datetime!(2020-01-01 0:00 UTC),
        datetime!(2049-01-01 0:00 UTC),
    );
    let pair = tls.pair(&content.without_common_name());
    std::fs::write(folder.join("cert.pem"), pair.full_chain_pem()).unwrap();
    std::fs::write(folder.join("key.pem"), pair.key_pem).unwrap();
}
