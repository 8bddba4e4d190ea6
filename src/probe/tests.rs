//! What is shown of what came, by the address that it came from: 127.0.0.1 is internal here, and 127.0.0.2 public.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::core::resource::ChallengeStatus;
use crate::core::resource::Token;

const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const A: &str = "a.example.com";
const B: &str = "b.example.com";
const SECRET: &str = "secret-of-an-internal-service";

/// Names and where they lead.
struct Listed(BTreeMap<&'static str, Ipv4Addr>);

impl Resolve for Listed {
    fn resolve(&self, asked: Name) -> Resolving {
        let address = self.0.get(asked.as_str()).copied();
        Box::pin(async move {
            let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Box::new([SocketAddr::from((address, 0_u16))].into_iter()) as Addrs)
        })
    }
}

/// A server that gives one answer; `{port}` in it is the port. How often it was asked is counted.
async fn serve(address: Ipv4Addr, port: u16, answer: &str) -> (u16, Arc<Mutex<Vec<String>>>) {
    serve_bytes(address, port, answer.as_bytes()).await
}

async fn serve_bytes(
    address: Ipv4Addr,
    port: u16,
    answer: &[u8],
) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // What is no text has no port in it.
    let answer = match str::from_utf8(answer) {
        Ok(text) => text.replace("{port}", &port.to_string()).into_bytes(),
        Err(_) => answer.to_vec(),
    };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap_or(0);
            seen.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            drop(socket.write_all(&answer).await);
        }
    });
    (port, asked)
}

fn page(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn to(url: &str) -> String {
    page("302 Found", &format!("Location: {url}\r\n"), "")
}

fn probe(names: &[(&'static str, Ipv4Addr)], port: u16) -> Probe {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listed = Arc::new(Listed(names.iter().copied().collect()));
    let is_internal = |address| address != IpAddr::from(PUBLIC);
    Probe::over(listed, is_internal, port, Duration::from_secs(20)).unwrap()
}

async fn visit(probe: &Probe) -> Visit {
    let token = Token::try_from("token".to_owned()).unwrap();
    let key_authorization = "token.thumbprint".to_owned();
    let challenge = Http01 { token, key_authorization, status: ChallengeStatus::Pending };
    probe.fetch(&A.parse().unwrap(), &challenge).await
}

/// The trouble in words; nothing that is shown anywhere holds the secret.
#[track_caller]
fn kept_secret(visit: &Visit) -> String {
    let trouble = visit.end.as_ref().unwrap_err();
    let all = format!("{trouble} {trouble:?} {:?}", visit.hops);
    assert!(!all.contains(SECRET), "{all}");
    trouble.to_string()
}

#[tokio::test]
async fn nothing_is_shown_of_what_an_internal_address_answers() {
    let body = format!("{SECRET} {}", "x".repeat(800));
    let (port, _) = serve(INSIDE, 0, &page("200 OK", &format!("X: {SECRET}\r\n"), &body)).await;
    let told = kept_secret(&visit(&probe(&[(A, INSIDE)], port)).await);
    assert!(told.contains(&format!("answered 200, {} bytes, not the token", body.len())), "{told}");
    let (port, _) = serve(INSIDE, 0, &page(&format!("418 {SECRET}"), "", SECRET)).await;
    let told = kept_secret(&visit(&probe(&[(A, INSIDE)], port)).await);
    assert!(told.contains("answered 418"), "{told}");
}

#[tokio::test]
async fn what_a_public_address_answers_is_shown() {
    let (port, _) = serve(PUBLIC, 0, &page("200 OK", "", "It works!")).await;
    let visit = visit(&probe(&[(A, PUBLIC)], port)).await;
    assert!(visit.end.unwrap_err().to_string().contains("`It works!`"));
}

#[tokio::test]
async fn our_token_is_found_at_an_internal_address() {
    let (port, _) = serve(INSIDE, 0, &page("200 OK", "", "token.thumbprint")).await;
    assert_eq!(visit(&probe(&[(A, INSIDE)], port)).await.end, Ok(()));
}

#[tokio::test]
async fn where_an_internal_address_redirects_to_is_shown_nowhere() {
    for target in [
        // Followed, and where nothing is found.
        format!("http://{B}:{{port}}/{SECRET}"),
        // Not followed.
        format!("http://10.0.0.1/{SECRET}"),
        format!("gopher://{SECRET}"),
        format!("http://{SECRET}.corp/"),
        format!("http://[{SECRET}"),
    ] {
        let (port, _) = serve(INSIDE, 0, &to(&target)).await;
        kept_secret(&visit(&probe(&[(A, INSIDE)], port)).await);
    }
}

#[tokio::test]
async fn a_redirect_from_a_public_address_to_an_internal_one_is_not_followed() {
    let (port, asked) = serve(INSIDE, 0, &page("200 OK", "", SECRET)).await;
    serve(PUBLIC, port, &to("http://b.example.com:{port}/")).await;
    let told = kept_secret(&visit(&probe(&[(A, PUBLIC), (B, INSIDE)], port)).await);
    assert!(told.contains("where the CA would not go"), "{told}");
    assert!(told.contains("internal address"), "{told}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_from_an_internal_address_is_followed_and_what_it_leads_to_is_judged_by_itself()
{
    let (port, _) = serve(INSIDE, 0, &to("http://b.example.com:{port}/")).await;
    serve(PUBLIC, port, &page("200 OK", "", "token.thumbprint")).await;
    assert_eq!(visit(&probe(&[(A, INSIDE), (B, PUBLIC)], port)).await.end, Ok(()));
}

#[tokio::test]
async fn what_the_operator_has_us_look_at_is_shown_but_nothing_behind_a_redirect() {
    let led = |port| Probe { is_led: true, ..probe(&[(A, INSIDE)], port) };
    let (port, _) = serve(INSIDE, 0, &page("200 OK", "", "It works!")).await;
    assert!(visit(&led(port)).await.end.unwrap_err().to_string().contains("`It works!`"));
    // To another path of the same host.
    let listener = TcpListener::bind((INSIDE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap_or(0);
            let is_first = String::from_utf8_lossy(&request[..length]).contains(FOLDER);
            let answer = if is_first { to("/admin") } else { page("200 OK", "", SECRET) };
            drop(socket.write_all(answer.as_bytes()).await);
        }
    });
    let told = kept_secret(&visit(&led(port)).await);
    assert!(told.contains("/admin: answered 200"), "{told}");
}

/// `token.thumbprint`, as gzip packs it (RFC 1952).
const PACKED: [u8; 36] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x2b, 0xc9, 0xcf, 0x4e, 0xcd, 0xd3,
    0x2b, 0xc9, 0x28, 0xcd, 0x4d, 0x2a, 0x28, 0xca, 0xcc, 0x2b, 0x01, 0x00, 0x5e, 0x65, 0xea, 0xb4,
    0x10, 0x00, 0x00, 0x00,
];

#[tokio::test]
async fn an_answer_that_is_packed_is_unpacked_as_the_authoritys_client_does() {
    for (packed, is_whole) in
        [(&PACKED[..], true), (&PACKED[..12], false), (SECRET.as_bytes(), false)]
    {
        let length = packed.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = [head.as_bytes(), packed].concat();
        let (port, asked) = serve_bytes(INSIDE, 0, &answer).await;
        let visit = visit(&probe(&[(A, INSIDE)], port)).await;
        assert_eq!(visit.end.is_ok(), is_whole, "{:?}", visit.end);
        assert!(is_whole || !kept_secret(&visit).is_empty());
        let asked = asked.lock().unwrap().concat().to_ascii_lowercase();
        assert!(asked.contains("accept-encoding: gzip\r\n"), "{asked}");
    }
}
