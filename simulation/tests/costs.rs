//! What a name costs at the authority, as the README has it.

use simulation::costs::render;

#[test]
fn the_table_of_costs_in_the_readme_is_what_the_stories_come_to() {
    let table = render().unwrap_or_else(|violation| {
        panic!("{:?}: {}\n{}", violation.promise, violation.text, violation.history.join("\n"))
    });
    let readme = include_str!("../../README.md");
    let (_, rest) =
        readme.split_once("<!-- costs -->\n").expect("the table of costs has a beginning");
    let (shown, _) =
        rest.split_once("<!-- end of costs -->").expect("the table of costs has an end");
    assert_eq!(shown, table, "set it with `make simulate COSTS=1`");
}
