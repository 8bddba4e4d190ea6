//! Made-up states of everything, for what no daemon gets into while a test waits.

use rancher_lets_encrypt::core::reaction::FailureKind;
use rancher_lets_encrypt::view::status::Health;
use rancher_lets_encrypt::view::status::Part;
use rancher_lets_encrypt::view::status::Pass;
use rancher_lets_encrypt::view::status::Phase;
use rancher_lets_encrypt::view::status::Program;
use rancher_lets_encrypt::view::status::Setting;
use rancher_lets_encrypt::view::status::Status;
use rancher_lets_encrypt::view::status::authority::Authority;
use rancher_lets_encrypt::view::status::authority::Budget;
use rancher_lets_encrypt::view::status::authority::Wait;
use rancher_lets_encrypt::view::status::authority::Waiting;
use rancher_lets_encrypt::view::status::certificate::Certificate;
use rancher_lets_encrypt::view::status::certificate::Copy;
use rancher_lets_encrypt::view::status::certificate::LastTry;
use rancher_lets_encrypt::view::status::certificate::Next;
use rancher_lets_encrypt::view::status::certificate::Problem;
use rancher_lets_encrypt::view::status::certificate::Whole;
use time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-28 12:00:05 UTC);

const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// A loop that turns, with these certificates.
pub(crate) fn status(certificates: Vec<Certificate>, sentence: &str) -> Status {
    let program = Program {
        version: "0.1.0".to_owned(),
        destination: "Rancher".to_owned(),
        started_at: Some(NOW - Duration::days(12)),
        settings: [
            ("CATTLE_URL", "http://rancher.example.com:8080/v2-beta"),
            ("CATTLE_ACCESS_KEY", "set"),
            ("CATTLE_SECRET_KEY", "set"),
            ("DOMAINS", "example.com www.example.com, docs.example.com"),
        ]
        .into_iter()
        .map(|(name, value)| Setting { name: name.to_owned(), value: value.to_owned() })
        .collect(),
    };
    let health = certificates.iter().map(|one| one.health).max();
    let bad = certificates.iter().filter(|one| one.health.needs_attention());
    Status {
        phase: Phase::Running,
        health: health.unwrap_or_default(),
        sentence: sentence.to_owned(),
        needs_attention: bad.count(),
        last_pass: Some(Pass { ended_at: NOW - Duration::seconds(47), seconds: 0.8, count: 3456 }),
        next_pass_at: Some(NOW + Duration::seconds(253)),
        certificates,
        authorities: vec![Authority {
            directory: DIRECTORY.to_owned(),
            is_wanted: true,
            keeps_limits: true,
            budgets: Vec::new(),
            waits: Vec::new(),
        }],
        dependencies: vec![
            part("destination", "certificates listed at 2026-11-28T12:00:00Z"),
            part("source", "labels read at 2026-11-28T11:59:58Z"),
            part("balancers", "2 in this environment"),
            part("CA", DIRECTORY),
            part("webroot", "can be read"),
            part("store", "held by this instance"),
        ],
        ..Status::before(&program, Phase::Starting, NOW)
    }
}

fn part(name: &str, detail: &str) -> Part {
    Part {
        name: name.to_owned(),
        health: Health::Ok,
        detail: detail.to_owned(),
        advice: None,
        since: None,
    }
}

/// A certificate of ninety days that is well, so many days after it was issued.
pub(crate) fn certificate(names: &[&str], origin: &str, days: i64) -> Certificate {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let issued = NOW - Duration::days(days);
    let (due, ends) = (issued + Duration::days(60), issued + Duration::days(90));
    let copy = Copy::Whole(Whole {
        issuer: "R11 (Let's Encrypt)".to_owned(),
        names: names.clone(),
        not_before: issued,
        not_after: ends,
        fingerprint: format!("{days:064x}"),
        is_self_signed: false,
        is_staging: false,
    });
    Certificate {
        name: names[0].clone(),
        names,
        origins: vec![origin.to_owned()],
        health: Health::Ok,
        action: "keep".to_owned(),
        reason: "both copies are fresh".to_owned(),
        problem: None,
        last_try: Some(LastTry { at: issued, what: "push".to_owned(), error: None }),
        next: Some(Next { at: due, what: "renewal".to_owned() }),
        on_disk: copy.clone(),
        at_destination: copy,
        balancers: Some(vec!["front/balancer".to_owned()]),
        renewal_due_at: Some(due),
        expires_at: Some(ends),
    }
}

/// The same, but its renewal fails.
pub(crate) fn failing(names: &[&str], origin: &str, what: &str) -> Certificate {
    Certificate {
        health: Health::Attention,
        action: "renew".to_owned(),
        reason: what.to_owned(),
        problem: Some(problem(what)),
        last_try: Some(LastTry {
            at: NOW - Duration::minutes(37),
            what: "obtain".to_owned(),
            error: Some(what.to_owned()),
        }),
        next: Some(Next { at: NOW + Duration::minutes(680), what: "next try: renew".to_owned() }),
        ..certificate(names, origin, 64)
    }
}

fn problem(what: &str) -> Problem {
    Problem {
        what: what.to_owned(),
        kind: Some(FailureKind::Unreachable),
        advice: FailureKind::Unreachable.advice().map(str::to_owned),
        needs_person: false,
        link: None,
    }
}

/// What a person may well see one day.
pub(crate) fn realistic() -> Status {
    let what = "validation of shop.example.com failed: 203.0.113.7: Fetching \
        http://shop.example.com/.well-known/acme-challenge/9n3ZcKt: Timeout during connect (likely firewall problem)";
    let shop = failing(&["shop.example.com", "www.shop.example.com"], "shop/web", what);
    let unlisted = Certificate {
        balancers: Some(Vec::new()),
        ..certificate(&["intranet.example.org"], "intranet/app", 12)
    };
    let mut status = status(
        vec![
            shop,
            certificate(&["example.com", "www.example.com"], "DOMAINS", 33),
            certificate(&["docs.example.com"], "DOMAINS", 33),
            certificate(&["blog.example.com"], "blog/web", 21),
            unlisted,
        ],
        "1 of 5 certificates needs attention.",
    );
    let authority = &mut status.authorities[0];
    authority.budgets = vec![
        budget("failed validations of shop.example.com", 4, 5, Duration::HOUR),
        budget("new certificates for example.com", 3, 50, Duration::WEEK),
    ];
    authority.waits = vec![Wait {
        kind: Waiting::Name,
        about: "shop.example.com".to_owned(),
        until: NOW + Duration::minutes(680),
        failures: 4,
        problem: problem(what),
    }];
    status
}

/// A limit of which something is used.
pub(crate) fn budget(what: &str, used: u32, limit: u32, window: Duration) -> Budget {
    let each = window / i32::try_from(limit).unwrap();
    Budget {
        what: what.to_owned(),
        kind: "domain".to_owned(),
        used,
        limit,
        window_seconds: window.whole_seconds(),
        refills_at: NOW + each / 2,
        full_at: NOW + each * i32::try_from(used).unwrap(),
    }
}

/// Text as an enemy would write it: markup, marks that turn the direction, control characters, a word without an end.
pub(crate) fn hostile() -> String {
    format!(
        "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\"></bdi></main> \
         \u{202e}gnp.exe\u{2066} \0\u{1b}[31m {}",
        "W".repeat(10_000)
    )
}

/// Hostile text wherever text comes from elsewhere.
pub(crate) fn hostile_status() -> Status {
    let text = hostile();
    let mut bad = failing(&["a.example.com"], &text, &text);
    bad.names.push(text.clone());
    bad.balancers = Some(vec![text.clone()]);
    bad.problem.as_mut().unwrap().link = Some("javascript:document.title='owned'".to_owned());
    let Copy::Whole(whole) = &mut bad.at_destination else { unreachable!("made whole") };
    whole.issuer.clone_from(&text);
    whole.names.push(text.clone());
    bad.on_disk = Copy::Broken { why: text.clone() };
    let mut status = status(vec![bad], "1 of 1 certificates needs attention.");
    status.notices = vec![text.clone()];
    status.dependencies.push(part(&text, &text));
    status.settings[0].value.clone_from(&text);
    let authority = &mut status.authorities[0];
    authority.budgets = vec![budget(&text, 5, 5, Duration::HOUR)];
    authority.waits = vec![Wait {
        kind: Waiting::Name,
        about: text.clone(),
        until: NOW + Duration::HOUR,
        failures: 1,
        problem: problem(&text),
    }];
    status
}

/// Two thousand certificates, one of them failing, with limits for a quarter of them.
pub(crate) fn many() -> Status {
    let mut certificates = vec![failing(&["broken.example.com"], "DOMAINS", "nobody answers")];
    certificates.extend((1..2000).map(|number| {
        let name = format!("host-{number}.customer-{}.example.com", number % 37);
        let second = format!("www.{name}");
        let origin = format!("stack-{number}/web");
        certificate(&[&name, &second], &origin, number % 59)
    }));
    let mut status = status(certificates, "1 of 2000 certificates needs attention.");
    status.authorities[0].budgets = (0..500)
        .map(|number| budget(&format!("certificates for exactly n{number}"), 3, 5, Duration::WEEK))
        .collect();
    status
}
