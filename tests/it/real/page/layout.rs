//! Nothing hangs over the edge of a small screen. The page itself may not be measured by foreign scripts, so the test
//! serves what the page is made of without its security policy, in a frame of the width of a small phone.

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use rancher_lets_encrypt::view::page;
use rancher_lets_encrypt::view::status::Status;
use tokio::net::TcpListener;

use crate::real::page::browser::look;
use crate::real::page::made;

const FRAME: &str = r#"<!doctype html><title>frame</title>
<iframe src="/page" width="320" height="600" frameborder="0"></iframe>
<script>
document.querySelector('iframe').onload = (event) => {
  const page = event.target.contentDocument;
  for (const details of page.querySelectorAll('details')) details.open = true;
  const width = page.documentElement.clientWidth;
  const over = [...page.querySelectorAll('#page *')].filter((one) =>
    !one.closest('.unseen') && one.getBoundingClientRect().right > width + 0.5);
  const names = over.map((one) => `${one.localName}.${one.className}`);
  document.title = `${width} ${page.documentElement.scrollWidth} ${names.join(' ')}`;
};
</script>"#;

async fn check(status: &Status) {
    let page = page::render(status).unwrap();
    let style = ([(header::CONTENT_TYPE, "text/css")], page::STYLE);
    let router = Router::new()
        .route("/", get(async || Html(FRAME)))
        .route("/page", get(async || Html(page)))
        .route("/style.css", get(async || style));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let look = look(&url).await;
    task.abort();
    assert_eq!(look.between("<title>", "</title>"), "320 320 ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_phone_shows_everything_without_scrolling_sideways() {
    check(&made::realistic()).await;
    check(&made::hostile_status()).await;
}
