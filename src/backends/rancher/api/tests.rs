use proptest::prelude::any;
use proptest::proptest;
use serde_json::json;

use super::*;

const KEY: &str = "MIGHAgEAMBMGByqGSM49";

proptest! {
    #[test]
    fn any_answer_is_read_or_explained_without_its_content(
        status in 200_u16..600,
        at in any::<proptest::sample::Index>(),
        put in proptest::collection::vec(any::<u8>(), 0..6),
        code in ".{0,20}",
    ) {
        let row = json!({"id": "1c1", "name": "a.example.com", "key": KEY, "code": code});
        let mut body = row.to_string().into_bytes();
        let from = at.index(body.len());
        body.splice(from..from + put.len().min(body.len() - from), put);
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers: HeaderMap::new(), body };
        if let Err(error) = answer.read::<Project>("POST", "certificates/1c1/?action=update") {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.len() < 10_000);
            if status.is_success() {
                assert!(!text.contains(KEY), "{text}");
            }
        }
    }

    #[test]
    fn any_marker_is_part_of_one_query(next in ".{0,200}") {
        if let Some(marker) = marker_of(&next) {
            assert!(!marker.contains('&'));
        }
    }
}
