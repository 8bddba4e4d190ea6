//! Keys, environments and CAs that Rancher's API is reached with.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_the_role_environment_wins_over_that_of_the_agent() {
    let world = World::start().await;
    let (agent, environment) =
        (world.rancher.key(Role::AgentOnly), world.rancher.key(Role::Environment));
    let _daemon = world
        .settings()
        .with("CATTLE_ACCESS_KEY", agent.0)
        .with("CATTLE_SECRET_KEY", agent.1)
        .with("CATTLE_ENVIRONMENT_ACCESS_KEY", environment.0)
        .with("CATTLE_ENVIRONMENT_SECRET_KEY", environment.1)
        .with("DOMAINS", "a.example.com")
        .start();
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_named_and_the_daemon_goes_on_when_it_is_accepted() {
    let world = World::start().await;
    let mut daemon = world
        .settings()
        .with("CATTLE_ACCESS_KEY", "LATEKEY")
        .with("CATTLE_SECRET_KEY", "late-secret")
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("CATTLE_ACCESS_KEY") && error.contains("401"), "{error}");
    daemon.passes(2).await;
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(daemon.count("Rancher cannot be read"), 1);

    world.rancher.add_key(Role::Environment, "LATEKEY", "late-secret");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert_eq!(daemon.count("Rancher can be read again"), 1);
    assert!(!daemon.text().contains("late-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_the_role_is_told_with_the_label_to_set() {
    let world = World::start().await;
    let (access, secret) = world.rancher.key(Role::AgentOnly);
    for url in [world.rancher.api_url(), format!("{}/projects/1a5", world.rancher.api_url())] {
        let mut daemon = world
            .settings()
            .with("CATTLE_URL", url)
            .with("CATTLE_ACCESS_KEY", access.clone())
            .with("CATTLE_SECRET_KEY", secret.clone())
            .with("DOMAINS", "a.example.com")
            .start();
        let line = daemon.says("Rancher cannot be read").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("io.rancher.container.agent.role: environment"), "{error}");
        daemon.passes(1).await;
        daemon.stop().await;
    }
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(world.rancher.certificates().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_writes_nothing_while_access_control_is_off() {
    let world = World::start().await;
    world.rancher.settings(|settings| settings.access_control = false);
    // An older server may not know the header that asks it to be strict.
    for enforces in [true, false] {
        world.rancher.settings(|settings| settings.enforces_authentication = enforces);
        let mut daemon = world
            .settings()
            .with("CATTLE_ACCESS_KEY", "WRONG")
            .with("CATTLE_SECRET_KEY", "wrong-secret")
            .with("DOMAINS", "a.example.com")
            .start();
        let line = daemon.says("Rancher cannot be read").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("CATTLE_ACCESS_KEY") && error.contains("access control"), "{error}");
        daemon.passes(1).await;
        daemon.stop().await;
    }
    assert_eq!(world.production.orders().len(), 0);
    assert_eq!(world.rancher.certificates().len(), 0);
    assert_eq!(world.rancher.wakes().len(), 0);

    let _daemon = world.daemon("a.example.com");
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_of_somebody_else_is_refused_by_name() {
    let world = World::start().await;
    let mut daemon = world
        .settings()
        .with("CATTLE_URL", format!("{}/projects/1a7", world.rancher.api_url()))
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("403") && error.contains("1a7") && error.contains("CATTLE_URL"),
        "{error}"
    );
    daemon.passes(1).await;
    assert_eq!(world.production.orders().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rancher_with_a_ca_of_its_own_is_trusted_by_the_file_of_that_ca() {
    let world = World::start().await;
    let tls = certs::server_config(&[]);
    let (_front, settings) = world.rancher_over_tls(tls.config).await;
    std::fs::write(world.path("rancher-ca.pem"), &tls.root_pem).unwrap();

    let mut stranger = settings.clone().start();
    let line = stranger.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
    stranger.stop().await;
    assert_eq!(world.production.orders().len(), 0);

    let _daemon =
        settings.with("RANCHER_CA_FILE", world.path("rancher-ca.pem").to_str().unwrap()).start();
    world.pushed("a.example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_file_that_is_not_there_or_holds_no_certificate_ends_the_start() {
    let world = World::start().await;
    std::fs::write(world.path("empty.pem"), "").unwrap();
    for (file, said) in [("missing.pem", "missing.pem"), ("empty.pem", "no certificate")] {
        let settings = world.settings().with("RANCHER_CA_FILE", world.path(file).to_str().unwrap());
        let output = command(&settings).output().await.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("RANCHER_CA_FILE") && text.contains(said), "{text}");
    }
}
