//! CAA records and name servers.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caa_records_are_judged_for_the_authority_that_would_be_asked() {
    let town = Town::start().await;
    let add = "add the CAA record";
    for (place, value, grade, says, mend) in [
        ("1.example.com", "sandbox.example", "ok", "sandbox.example may issue", ""),
        ("2.example.com", "letsencrypt.org", "fail", "this CA may not issue", add),
        ("3.example.com", ";", "fail", "this CA may not issue", "0 issue \"sandbox.example\""),
        ("4.example.com", "sandbox.example; validationmethods=http-01", "ok", "may issue", ""),
        (
            "5.example.com",
            "sandbox.example; validationmethods=dns-01",
            "fail",
            "`dns-01`",
            "must list http-01",
        ),
        (
            "6.example.com",
            "sandbox.example; accounturi=https://x.test/1",
            "warn",
            "ours is not made yet",
            "accounturi",
        ),
        // The records of the closest name count, and of those above it where it has none.
        ("7.example.com", "sandbox.example", "ok", "CAA of 7.example.com", ""),
    ] {
        town.dns.certify(place, value).await;
        let name = format!("a.{place}");
        town.dns.resolve(&name, V4).await;
        let checked = town.check_with(&town.settings(), &name).await;
        assert_eq!(checked.status, i32::from(grade == "fail"), "{}", checked.stdout);
        checked.has("caa", grade, says, mend);
    }
    town.dns.certify("a.7.example.com", "other.test").await;
    let checked = town.check_with(&town.settings(), "a.7.example.com").await;
    checked.has("caa", "fail", "CAA of a.7.example.com", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caa_records_for_one_account_are_compared_with_ours() {
    let town = Town::start().await;
    let port = town.port.number();
    town.world.production.set(|settings| settings.validation_port = port);
    let settings = town.settings().with("SELF_CHECK_ADDRESS", "127.0.0.1");
    let daemon = settings.start();
    town.world.pushed(NAME).await;
    daemon.stop().await;
    let folder = town.world.store().join("rancher-lets-encrypt/accounts");
    let account = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let account = std::fs::read(account.path()).unwrap();
    let account: serde_json::Value = serde_json::from_slice(&account).unwrap();
    let own = account["url"].as_str().unwrap();
    let only = |url: &str| format!("sandbox.example; accounturi={url}");
    town.dns.certify("example.com", &only(own)).await;
    let checked = town.check().await;
    checked.has("caa", "ok", "sandbox.example may issue", "");
    town.dns.certify(NAME, &only("https://x.test/1")).await;
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    checked.has("caa", "fail", "only the account https://x.test/1", own);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_does_not_answer_leaves_the_records_to_the_reader() {
    let town = Town::start().await;
    town.dns.certify(NAME, "letsencrypt.org").await;
    town.world.production.faults().add("directory", u32::MAX, What::status(500));
    let checked = town.check().await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("caa", "warn", "0 issue \"letsencrypt.org\"", "ask it for its CAA identity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lets_encrypts_own_directories_are_not_even_asked() {
    let town = Town::start().await;
    town.dns.certify(NAME, "letsencrypt.org").await;
    let settings = town.settings().without("ACME_DIRECTORY");
    let checked = town.check_with(&settings, NAME).await;
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    checked.has("caa", "ok", "letsencrypt.org may issue", "");
    assert_eq!(town.world.production.faults().seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_that_fail_are_told_apart_from_names_without_records() {
    let town = Town::start().await;
    town.dns.fail(NAME).await;
    let checked = town.check().await;
    assert_eq!(checked.status, 1);
    checked.has("a", "fail", "SERVFAIL", "DNSSEC");
    checked.has("caa", "fail", "a CA that cannot read these records refuses", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_behind_an_alias_are_to_be_changed_where_they_stand() {
    let town = Town::start().await;
    town.dns.resolve("cdn.test.example", V4).await;
    town.dns.certify("cdn.test.example", "letsencrypt.org").await;
    town.dns.alias("b.example.com", "cdn.test.example").await;
    let checked = town.check_with(&town.settings(), "b.example.com").await;
    checked.has("caa", "fail", "CAA of cdn.test.example", "in the place of its CNAME");
}
