//! The log: one line for each event, whatever stands in it.

use std::io;

use rancher_lets_encrypt::config::LogFormat;
use rancher_lets_encrypt::core::text::is_plain;
use rancher_lets_encrypt::core::text::plain;
use tracing_subscriber::EnvFilter;

/// Starts the log. What others wrote can neither begin a line of its own nor steer a terminal.
pub(crate) fn start<W: io::Write>(
    filter: &str,
    format: LogFormat,
    writer: impl Fn() -> W + Send + Sync + 'static,
) {
    // Checked with the other settings.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(move || OneLine(writer()));
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Is given each event in one piece, with its line break.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if is_plain(line) {
            self.0.write_all(event)?;
        } else {
            self.0.write_all(format!("{}\n", plain(line)).as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        let mut written = OneLine(Vec::new());
        written.write_all(b"INFO well\n").unwrap();
        written.write_all("WARN a\nERROR b\r\u{1b}[2K\u{202e}c\u{2028}d\n".as_bytes()).unwrap();
        let text = String::from_utf8(written.0).unwrap();
        assert_eq!(text, "INFO well\nWARN a ERROR b  [2K c d\n");
    }
}
