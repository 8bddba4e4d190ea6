//! How tokens are fetched, and why a name fails.

use super::*;

#[tokio::test]
async fn failed_validation_leaves_the_reason_in_the_challenge() {
    let world = World::start(|_| {}).await;
    let client = world.client().await;
    let (url, order) = client.order(&["a.example"]).await;
    let order_after = world.tell(&client, &url).await;
    assert_eq!(order_after["status"], "invalid");
    assert!(order_after.get("error").is_none(), "Boulder tells nothing in the order");
    let authorization = &client.authorizations(&order).await[0];
    assert_eq!(authorization["status"], "invalid");
    let error = &http01(authorization)["error"];
    assert_eq!(error["type"], "urn:ietf:params:acme:error:unauthorized");
    assert!(
        text(&error["detail"]).starts_with("127.0.0.1: Invalid response from http://a.example/")
    );
    assert!(text(&error["detail"]).ends_with(": 404"));
    client.respond(authorization).await.expect_problem(400, "malformed");
    let (_, csr) = request(&["a.example"]);
    client.finalize(&order, &csr).await.expect_problem(403, "orderNotReady");

    world.authority.set(|settings| settings.order_errors = true);
    let (url, _) = client.order(&["a.example"]).await;
    let order = world.tell(&client, &url).await;
    assert_eq!(order["error"]["type"], "urn:ietf:params:acme:error:unauthorized");
    let validations = world.authority.validations();
    assert_eq!(validations.iter().filter(|each| !each.ok).count(), 2);
}

/// Validates one name and returns the problem.
async fn validation(world: &World, name: &str, page: impl FnOnce(&str, &str)) -> Option<Problem> {
    let client = world.client().await;
    let (url, order) = client.order(&[name]).await;
    let authorization = &client.authorizations(&order).await[0];
    let token = text(&http01(authorization)["token"]);
    page(&format!("/.well-known/acme-challenge/{token}"), &client.key_authorization(token));
    world.tell(&client, &url).await;
    world.authority.validations().pop().and_then(|last| last.error)
}

#[tokio::test]
async fn tokens_are_fetched_by_the_rules_of_boulder() {
    let tls = certs::server_config(&[]);
    let web = Arc::new(Web::default());
    let secure = Server::start(Some(tls.config), Faults::default(), Arc::clone(&web))
        .await
        .expect("a free port");
    let world = World::start(|settings| settings.validation_tls_port = secure.port()).await;
    let other =
        Server::start(None, Faults::default(), Arc::clone(&web)).await.expect("a free port");
    let (port, other_port) = (world.web_server.port(), other.port());
    let serve = |path: &str, body: &str| world.web.publish(path, body);

    let check = async |what: &str, expected: Option<(&str, &str)>, page: &dyn Fn(&str, &str)| {
        let problem = validation(&world, "a.example", page).await;
        match (problem, expected) {
            (None, None) => {}
            (Some(problem), Some((kind, detail))) => {
                assert_eq!(problem.kind, kind, "{what}: {}", problem.detail);
                assert!(problem.detail.contains(detail), "{what}: {}", problem.detail);
            }
            (problem, _) => panic!("{what}: {problem:?}"),
        }
    };
    check("plain", None, &|path, key| serve(path, key)).await;
    check("white space behind", None, &|path, key| serve(path, &format!("{key} \r\n"))).await;
    let mismatch = Some(("unauthorized", "did not match this challenge"));
    check("white space before", mismatch, &|path, key| serve(path, &format!(" {key}"))).await;
    check("byte order mark", mismatch, &|path, key| serve(path, &format!("\u{feff}{key}"))).await;
    let longest = |key: &str, length: usize| format!("{key}{}", " ".repeat(length - key.len()));
    check("127 bytes", None, &|path, key| serve(path, &longest(key, 127))).await;
    let refused = Some(("unauthorized", "Invalid response from http://a.example/"));
    check("128 bytes", refused, &|path, key| serve(path, &longest(key, 128))).await;

    for status in [301, 302, 307, 308] {
        check("redirect", None, &|path, key| {
            world.web.redirect(path, status, "http://other.example/elsewhere?x=1");
            serve("/elsewhere", key);
        })
        .await;
    }
    assert_eq!(world.web.hosts().last().map(String::as_str), Some("other.example"));
    check("relative redirect", None, &|path, key| {
        world.web.redirect(path, 302, "/elsewhere");
        serve("/elsewhere", key);
    })
    .await;
    check("own port", None, &|path, key| {
        world.web.redirect(path, 302, format!("http://a.example:{port}/elsewhere"));
        serve("/elsewhere", key);
    })
    .await;
    check("to https", None, &|path, key| {
        world.web.redirect(path, 301, format!("https://a.example{path}"));
        web.publish(path, key);
    })
    .await;
    let to = |status: u16, to: String| {
        let web = Arc::clone(&world.web);
        move |path: &str, _: &str| web.redirect(path, status, to.clone())
    };
    for (what, status, target, why) in [
        ("303", 303, "/x".to_owned(), "disallowed redirect status code"),
        (
            "port",
            302,
            format!("http://a.example:{other_port}/x"),
            "Invalid port in redirect target",
        ),
        ("scheme", 302, "ftp://a.example/x".to_owned(), "Invalid protocol scheme"),
        ("address", 302, "http://127.0.0.1/x".to_owned(), "Invalid host in redirect target"),
        ("path", 302, format!("/{}", "x".repeat(2000)), "2001 bytes long"),
    ] {
        check(what, Some(("connection", why)), &to(status, target)).await;
    }
    check("loop", Some(("connection", "Redirect loop detected")), &|path, _| {
        world.web.redirect(path, 302, path);
    })
    .await;
    check("ten redirects", None, &|path, key| {
        world.web.redirect(path, 302, "/1");
        (1..10).for_each(|n| world.web.redirect(format!("/{n}"), 302, format!("/{}", n + 1)));
        serve("/10", key);
    })
    .await;
    check("eleven redirects", Some(("connection", "Too many redirects")), &|path, key| {
        world.web.redirect(path, 302, "/0");
        world.web.redirect("/0", 302, "/1");
        serve("/10", key);
    })
    .await;
}

#[tokio::test]
async fn unreachable_names_say_why() {
    let world = World::start(|settings| {
        settings.unresolved.insert("nowhere.example".to_owned());
    })
    .await;
    let failure = async |name: &str| {
        let problem = validation(&world, name, |_, _| {}).await;
        let problem = problem.expect("it fails");
        (problem.kind, problem.detail)
    };
    let (kind, detail) = failure("nowhere.example").await;
    assert_eq!(kind, "dns");
    assert!(detail.contains("NXDOMAIN looking up A for nowhere.example"), "{detail}");

    let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = nobody.local_addr().expect("it is bound");
    world.authority.resolve("silent.example", address);
    let patience = |time| {
        let authority = &world.authority;
        authority.set(|settings| settings.validation_timeout = time);
    };
    patience(Duration::from_millis(20));
    let (kind, detail) = failure("silent.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.ends_with("Timeout after connect (your server may be slow or overloaded)"));
    drop(nobody);
    patience(Duration::from_secs(10));
    let (kind, detail) = failure("silent.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.ends_with(": Connection refused"), "{detail}");

    world.web_faults.add("page", 1, What::Close);
    let (kind, detail) = failure("closed.example").await;
    assert_eq!(kind, "connection");
    assert!(detail.starts_with("127.0.0.1: Fetching http://closed.example/"), "{detail}");
}
