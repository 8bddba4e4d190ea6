//! What stands in front of Rancher and answers in its place.

use http::header;

use super::*;
use crate::support::look::look;

/// An answer of some proxy.
fn of_proxy(status: u16, headers: &[(&str, &str)], body: &str) -> What {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    What::Answer(response.body(Bytes::from(body.to_owned())).unwrap())
}

fn always(world: &World, what: What) {
    world.rancher.faults().clear();
    world.rancher.faults().add_when(|_| true, 0, u32::MAX, what);
}

/// The error that a daemon tells of Rancher, once.
async fn told(world: &World) -> String {
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.says("Rancher cannot be read").await;
    daemon.passes(1).await;
    assert_eq!(daemon.count("Rancher cannot be read"), 1, "{}", daemon.text());
    daemon.stop().await;
    line["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_https_is_told_and_the_key_is_not_sent_over_http_again() {
    let world = World::start().await;
    let asked = || world.rancher.faults().seen().len();
    for status in [301, 302, 307, 308] {
        let location = "https://rancher.example.com/v2-beta/projects";
        always(&world, of_proxy(status, &[("location", location)], "<html>moved</html>"));
        let before = asked();
        let mut daemon = world.daemon("a.example.com");
        let line = daemon.says("Rancher cannot be read").await;
        let error = line["error"].as_str().unwrap();
        let advice = "set CATTLE_URL to https://rancher.example.com/v2-beta;";
        assert!(error.contains(advice) && error.contains(&status.to_string()), "{error}");
        daemon.passes(3).await;
        // Nor when it would be answered.
        world.rancher.faults().clear();
        daemon.passes(2).await;
        assert_eq!(asked(), before + 1, "{}", daemon.text());
        daemon.stop().await;
    }
    let _daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redirect_is_followed_and_each_is_told_with_what_to_set() {
    let world = World::start().await;
    let other = World::start().await;
    let elsewhere = format!("{}/v2-beta/projects", other.rancher.origin());
    for (location, advice) in [
        (elsewhere.as_str(), format!("set CATTLE_URL to {}/v2-beta", other.rancher.origin())),
        ("/login?from=v2-beta", "pass /v2-beta on without it".to_owned()),
        ("", "redirect (302)".to_owned()),
    ] {
        always(&world, of_proxy(302, &[("location", location)], ""));
        let error = told(&world).await;
        assert!(error.contains(&advice), "{error}");
    }
    assert_eq!(other.rancher.faults().seen().len(), 0, "the key went along a redirect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_refuses_is_told_as_the_proxys() {
    let world = World::start().await;
    let html = "<html><head><title>no</title></head><body>no</body></html>";
    for (status, server, body, advice) in [
        (401, "nginx/1.18.0", html, "asks for a password of its own"),
        (403, "Apache/2.4.52 (Ubuntu)", html, "let the addresses of this host in"),
        (403, "gate", r#"{"error":"denied","status":403}"#, "let the addresses of this host in"),
        (404, "nginx", html, "is CATTLE_URL the address of a Rancher 1.x server?"),
        (407, "squid", html, "RANCHER_PROXY"),
        (418, "teapot", html, "from what stands in front of it"),
        (502, "nginx/1.18.0", html, "does not reach Rancher"),
        (503, "", html, "without a Server header"),
    ] {
        let headers = [(header::SERVER.as_str(), server)];
        always(&world, of_proxy(status, if server.is_empty() { &[] } else { &headers }, body));
        let error = told(&world).await;
        for part in [advice, "not from Rancher", server, &status.to_string()] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("CATTLE_ACCESS_KEY"), "{error}");
    }
    // Its own words are told as its own.
    always(&world, status(401));
    assert!(told(&world).await.contains("Rancher refuses the API key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_too_large_for_a_proxy_is_told_with_the_limit_to_raise() {
    let world = World::start().await;
    let headers = [("server", "nginx/1.18.0 (Ubuntu)")];
    let too_large = of_proxy(413, &headers, "<html>413 Request Entity Too Large</html>");
    world.rancher.faults().add(CREATE, 1, too_large);
    let mut daemon = world.daemon("a.example.com");
    let line = daemon.mentions("client_max_body_size").await.to_string();
    assert!(line.contains("413") && line.contains("nginx/1.18.0 (Ubuntu)"), "{line}");
    world.pushed("a.example.com").await;
    assert_eq!(world.issued("a.example.com").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_to_a_port_of_https_is_told_and_not_sent_again() {
    let world = World::start().await;
    let sentence = "<html>400 The plain HTTP request was sent to HTTPS port</html>";
    always(&world, of_proxy(400, &[("server", "nginx")], sentence));
    let error = told(&world).await;
    let https = world.rancher.api_url().replacen("http://", "https://", 1);
    assert!(error.contains(&format!("set CATTLE_URL to {https}")), "{error}");
    assert_eq!(world.rancher.faults().seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_advised_fits_what_went_wrong() {
    let world = World::start().await;
    let forbidden = json!({
        "type": "error", "status": 403, "code": "Forbidden", "message": "Forbidden", "detail": null,
    });
    let denied = "the line names the variable, label or right to change";
    for (what, advice) in [
        (status(401), denied),
        (answer(403, forbidden.to_string()), denied),
        (status(503), "check `CATTLE_URL` and Rancher itself"),
    ] {
        always(&world, what);
        let (mut daemon, port) =
            world.settings().with("DOMAINS", "a.example.com").start_seen().await;
        daemon.passes(1).await;
        let status: Value = serde_json::from_str(&look(&port, "/status.json").await.body).unwrap();
        let parts = status["dependencies"].as_array().unwrap();
        let part = parts.iter().find(|part| part["name"] == "destination").unwrap();
        assert!(part["advice"].as_str().unwrap().contains(advice), "{part}");
        assert!(!part.to_string().contains("Forbidden Forbidden"), "{part}");
        daemon.stop().await;
    }
}
