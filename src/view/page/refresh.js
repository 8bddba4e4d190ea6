// Keeps the page fresh. It is whole without this: whoever runs no scripts reloads it.
'use strict';

const news = document.getElementById('news');
const pause = 1000 * Number(document.documentElement.dataset.refresh || 15);

function tell(text, isBad) {
  news.classList.toggle('bad', isBad);
  if (news.textContent !== text) news.textContent = text;
}

// What a person has opened, chosen and scrolled to stays as it is; what has changed its state opens and closes anew.
function show(fresh) {
  const old = document.getElementById('page');
  for (const details of fresh.querySelectorAll('details[id]')) {
    const before = document.getElementById(details.id);
    if (before && before.dataset.state === details.dataset.state) details.open = before.open;
  }
  const said = (page) => page.querySelector('h1').textContent;
  const isNews = said(old) !== said(fresh);
  const focused = document.activeElement && document.activeElement.closest('[id]');
  const inSummary = document.activeElement && document.activeElement.localName === 'summary';
  const [x, y] = [window.scrollX, window.scrollY];
  old.replaceWith(document.adoptNode(fresh));
  window.scrollTo(x, y);
  const again = focused && focused !== document.body && document.getElementById(focused.id);
  if (again) ((inSummary && again.querySelector('summary')) || again).focus({ preventScroll: true });
  tell(isNews ? said(fresh) : '', false);
}

async function refresh() {
  if (document.hidden || !window.getSelection().isCollapsed) return;
  try {
    const answer = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    document.title = next.title;
    show(next.getElementById('page'));
  } catch {
    const asOf = document.getElementById('as-of').textContent;
    tell(`No answer from the daemon. What you see is from ${asOf}.`, true);
    document.title = 'No answer · rancher-lets-encrypt';
  }
}

async function turn() {
  await refresh();
  window.setTimeout(turn, pause);
}

window.setTimeout(turn, pause);
document.addEventListener('visibilitychange', refresh);
