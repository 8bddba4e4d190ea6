//! The web server serves what nginx would.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::webserver::Redirect;
use sandbox::webserver::WebServer;
use tempfile::TempDir;

use crate::desk::client;

fn write(root: &TempDir, path: &str, mode: u32) {
    let path = root.path().join(path);
    let folder = path.parent().expect("it is below the root");
    fs::create_dir_all(folder).expect("the root can be written to");
    fs::write(&path, "content").expect("the root can be written to");
    set_mode(&path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

async fn check(server: &WebServer, host: &str, path: &str, status: u16) -> String {
    let url = format!("http://127.0.0.1:{}{path}", server.port());
    let request = client().get(url).header("host", host);
    let response = request.send().await.expect("the server answers");
    assert_eq!(response.status(), status, "{host}{path}");
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match status {
        301 => header("location").unwrap_or_default().to_owned(),
        _ => header("content-type").unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn files_are_served_as_their_modes_allow() {
    let root = tempfile::tempdir().expect("there is a place for files");
    let token = "/.well-known/acme-challenge/-token_1";
    write(&root, &token[1..], 0o644);
    write(&root, "secret", 0o600);
    write(&root, "closed/file", 0o644);
    set_mode(&root.path().join("closed"), 0o700);
    let server = WebServer::start(root.path()).await.expect("ports are free");

    let content_type = check(&server, "any.example", token, 200).await;
    assert_eq!(content_type, "application/octet-stream");
    check(&server, "any.example", "/.well-known/x%2f../acme-challenge/%2dtoken_1", 200).await;
    for (path, status) in [
        ("/missing", 404),
        ("/missing/missing", 404),
        ("/secret", 403),
        ("/closed/file", 403),
        ("/closed/", 403),
        ("/", 403),
        ("/..%2f..%2fetc/passwd", 400),
    ] {
        check(&server, "any.example", path, status).await;
    }
    let location = check(&server, "any.example", "/.well-known", 301).await;
    assert_eq!(location, "http://any.example/.well-known/");
    let challenges = server.faults().seen();
    let first = challenges.first().expect("there were requests");
    assert_eq!((first.endpoint, first.subject.as_str()), ("challenge", "any.example"));
}

#[tokio::test]
async fn hosts_and_redirects_are_set() {
    let root = tempfile::tempdir().expect("there is a place for files");
    write(&root, "file", 0o644);
    let server = WebServer::start(root.path()).await.expect("ports are free");
    server.settings(|settings| settings.missing_hosts.push("other.example".to_owned()));
    check(&server, "other.example:80", "/file", 404).await;
    check(&server, "any.example", "/file", 200).await;

    server.settings(|settings| settings.redirect = Some(Redirect::Https(443)));
    let location = check(&server, "any.example:80", "/file?x=1", 301).await;
    assert_eq!(location, "https://any.example/file?x=1");
    let moved = Redirect::Path { from: "/old/".to_owned(), to: "/".to_owned() };
    server.settings(|settings| settings.redirect = Some(moved));
    assert_eq!(check(&server, "any.example", "/old/file", 301).await, "/file");
    check(&server, "any.example", "/file", 200).await;
}
