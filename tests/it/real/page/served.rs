//! Made-up states, served by the daemon's own server.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rancher_lets_encrypt::ports::counted::Counts;
use rancher_lets_encrypt::ports::counted::Directories;
use rancher_lets_encrypt::view::http;
use rancher_lets_encrypt::view::http::Seen;
use rancher_lets_encrypt::view::page;
use rancher_lets_encrypt::view::status::Status;
use rancher_lets_encrypt::work::daemon::Snapshot;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::real::page::browser::look;
use crate::real::page::browser::look_for;
use crate::real::page::made;

/// A server that ends with this value.
pub(crate) struct Served {
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves what is asked for at each look.
async fn serve_each(status: impl Fn() -> Status + Send + Sync + 'static) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Seen {
        status: Arc::new(status),
        snapshot: watch::Sender::new(Snapshot::default()).subscribe(),
        now: || made::NOW,
        hosts: Arc::default(),
        counts: Arc::new(Counts::new(Directories::default(), || made::NOW)),
    };
    let task = tokio::spawn(async move {
        http::serve(listener, seen, std::future::pending()).await.unwrap();
    });
    Served { url, task }
}

pub(crate) async fn serve(status: Status) -> Served {
    serve_each(move || status.clone()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_and_does_nothing() {
    let served = serve(made::hostile_status()).await;
    let look = look(&served.url).await;
    look.is_clean();
    let title = look.between("<title>", "</title>");
    assert_eq!(title, "Needs attention · rancher-lets-encrypt");
    // As text it is there, in every place; as markup it is not.
    let shown = look.dom.matches("&lt;script&gt;document.title=").count();
    assert!(shown >= 12, "{shown}:\n{}", look.dom);
    assert_eq!(look.dom.matches("<script").count(), 1, "{}", look.dom);
    assert_eq!(look.dom.matches("</main>").count(), 1);
    look.shows_no("<img");
    look.shows_no("javascript:");
    for unseen in ['\u{202e}', '\u{2066}', '\u{1b}', '\0'] {
        assert!(!look.dom.contains(unseen), "{unseen:?}");
    }
    // Nobody reads ten thousand letters.
    look.shows_no(&"W".repeat(200));
    look.shows("characters more, in /status.json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_certificates_stay_one_page() {
    let status = made::many();
    let page = page::render(&status).unwrap();
    assert!(page.len() < 2_500_000, "{} bytes", page.len());
    let served = serve(status).await;
    let look = look(&served.url).await;
    look.is_clean();
    assert_eq!(look.dom.matches("<details id=\"c-").count(), 2000);
    assert_eq!(look.dom.matches(" open=\"\">").count(), 1);
    look.shows("<a href=\"#ok\">");
    look.shows("<b>1999</b> OK");
    look.shows("<h3 id=\"ok\"");
    look.shows("and 480 more, of which more is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_itself_fresh() {
    let looks = AtomicUsize::new(0);
    let served = serve_each(move || {
        let all = vec![made::certificate(&["a.example.com"], "DOMAINS", 1)];
        match looks.fetch_add(1, Ordering::Relaxed) {
            0 => made::status(all, "First."),
            _ => made::realistic(),
        }
    })
    .await;
    let look = look_for(20, &served.url).await;
    look.is_clean();
    let title = look.between("<title>", "</title>");
    assert_eq!(title, "Needs attention · rancher-lets-encrypt");
    look.shows("<h1>1 of 5 certificates needs attention.</h1>");
    // Said to those who do not see it change.
    look.shows("role=\"status\">1 of 5 certificates needs attention.</p>");
    look.shows(
        "<details id=\"c-shop.example.com\" class=\"card\" data-state=\"attention\" open=\"\">",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_daemon_is_gone_says_so() {
    let looks = AtomicUsize::new(0);
    let served = serve_each(move || {
        assert_eq!(looks.fetch_add(1, Ordering::Relaxed), 0, "the daemon is gone");
        made::realistic()
    })
    .await;
    let look = look_for(20, &served.url).await;
    let title = look.between("<title>", "</title>");
    assert_eq!(title, "No answer · rancher-lets-encrypt");
    look.shows("No answer from the daemon. What you see is from 12:00:05 UTC.");
    look.shows("<h1>1 of 5 certificates needs attention.</h1>");
}
