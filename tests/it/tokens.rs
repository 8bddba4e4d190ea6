//! Challenge files: readable for nginx while they are needed, gone when they are not, and never those of others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::faults::What;

use crate::support::World;
use crate::support::guarded;

const NAME: &str = "a.example.com";
const FOLDER: &str = ".well-known/acme-challenge";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_readable_for_nginx_even_under_a_strict_umask() {
    let world = World::start().await;
    let gate = world.gates("challenge", What::Hold);
    let settings = world.settings().with("DOMAINS", NAME);
    let daemon = settings.start_in_shell("umask 077");
    guarded("the tell", gate.reached(1)).await;
    let folder = world.webroot().join(FOLDER);
    assert_eq!(mode(&folder), 0o755);
    assert_eq!(mode(folder.parent().unwrap()), 0o755);
    let tokens = world.tokens();
    assert_eq!(tokens.len(), 1);
    assert_eq!(mode(&folder.join(&tokens[0])), 0o644);
    assert_eq!(world.production.authorizations()[0].token, tokens[0]);
    gate.open();
    world.pushed(NAME).await;
    assert!(world.tokens().is_empty(), "{}", daemon.text());
    // What is secret stays so.
    let own = world.store().join("rancher-lets-encrypt");
    for entry in std::fs::read_dir(own.join("accounts")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!(mode(&own), 0o700);
    assert_eq!(mode(&world.live(NAME, "privkey.pem").canonicalize().unwrap()), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_failed_authorization_is_removed_too() {
    let world = World::start().await;
    world.production.set(|settings| {
        settings.unresolved.insert("b.example.com".to_owned());
    });
    let mut daemon = world.daemon("a.example.com b.example.com, b.example.com");
    world.pushed(NAME).await;
    daemon.mentions("validation of b.example.com failed").await;
    daemon.rests().await;
    assert!(world.tokens().is_empty(), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_order_in_flight_is_put_back_by_the_next_start() {
    let world = World::start().await;
    let gate = world.holds_validations_of(NAME);
    let daemon = world.daemon(NAME);
    guarded("the validation", gate.reached(1)).await;
    daemon.kill().await;
    let tokens = world.tokens();
    std::fs::remove_dir_all(world.webroot().join(".well-known")).unwrap();
    let mut daemon = world.daemon(NAME);
    daemon.says("token published").await;
    assert_eq!(world.tokens(), tokens);
    gate.open();
    world.pushed(NAME).await;
    assert!(world.tokens().is_empty(), "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strays_of_ours_are_swept_at_start_and_files_of_others_stay() {
    let world = World::start().await;
    let mut daemon = world.daemon(NAME);
    world.pushed(NAME).await;
    daemon.rests().await;
    daemon.stop().await;
    let own = &world.production.accounts()[0].thumbprint;
    let other = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";
    let folder = world.webroot().join(FOLDER);
    // A check may still run that began an hour ago, as far as files tell.
    let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let check = |age: u64| format!("preflight-{}-{:032x}", seconds - age, age);
    let (young, old, torn) = (check(3600), check(90_000), check(100_000));
    let stays = [
        (young.as_str(), format!("{young}.00")),
        ("of-another-account", format!("of-another-account.{other}")),
        ("with-other-content", format!("something.{own}")),
        ("with-more-content", format!("with-more-content.{own} and more")),
        ("page.html", "It works".to_owned()),
        ("empty", String::new()),
    ];
    for (name, content) in &stays {
        std::fs::write(folder.join(name), content).unwrap();
    }
    std::fs::create_dir(folder.join("folder")).unwrap();
    std::fs::write(folder.join("stray"), format!("stray.{own}")).unwrap();
    // Written in part when the power went.
    std::fs::write(folder.join("torn.tmp"), format!("torn.{own}")).unwrap();
    // Of checks that were killed.
    std::fs::write(folder.join(&old), format!("{old}.00")).unwrap();
    std::fs::write(folder.join(format!("{torn}.tmp")), "").unwrap();

    let mut daemon = world.daemon(NAME);
    daemon.idles().await;
    let mut left = world.tokens();
    left.sort();
    assert_eq!(
        left,
        [
            "empty",
            "folder",
            "of-another-account",
            "page.html",
            young.as_str(),
            "with-more-content",
            "with-other-content"
        ],
        "{}",
        daemon.text()
    );
}
