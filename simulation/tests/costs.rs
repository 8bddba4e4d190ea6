//! What a name costs at the authority, as the README has it.

use simulation::costs::Story;
use simulation::costs::render;
use simulation::costs::year;

#[test]
fn the_table_of_costs_in_the_readme_is_what_the_stories_come_to() {
    let table = render().unwrap_or_else(|violation| {
        panic!(
            "{:?}: {}\n{}",
            violation.promise,
            violation.text,
            violation.history.join("\n")
        )
    });
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("<!-- costs -->\n")
        .expect("the table of costs has a beginning");
    let (shown, _) = rest
        .split_once("<!-- end of costs -->")
        .expect("the table of costs has an end");
    assert_eq!(shown, table, "set it with `make simulate COSTS=1`");
}

#[test]
fn only_a_broken_name_is_never_certified() {
    for (story, name) in Story::ALL {
        let cost = year(story, 90).map(|cost| cost.certificates);
        let is_any = cost.is_ok_and(|certificates| certificates > 0);
        assert_eq!(is_any, story != Story::BrokenName, "{name}");
    }
}
