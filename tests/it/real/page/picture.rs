//! The picture that the README shows: `PICTURE=1` makes it anew (`make picture`).

use std::path::Path;

use crate::real::page::browser::photograph;
use crate::real::page::made;
use crate::real::page::served::serve;

/// Room for it in the repository.
const LARGEST: u64 = 150_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_in_the_documents_is_the_page() {
    let served = serve(made::realistic()).await;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status-page.png");
    let folder = tempfile::tempdir().unwrap();
    let is_asked = std::env::vars().any(|(name, value)| name == "PICTURE" && !value.is_empty());
    let to = if is_asked { kept.clone() } else { folder.path().join("page.png") };
    photograph(&served.url, (960, 1072), &to).await;
    // Fonts differ between machines; that there is one, and that it is small enough, does not.
    let length = std::fs::metadata(&to).unwrap().len();
    assert!(length < LARGEST, "{length} bytes");
    assert!(kept.exists(), "run `make picture`");
}
