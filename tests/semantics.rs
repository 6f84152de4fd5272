//! `contrib/SEMANTICS.md` names a test for each promise; here, that each of them exists.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("contrib/SEMANTICS.md")).unwrap();
    let promises: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| promise") && line.contains(".rs: "))
        .collect();
    assert!(promises.len() > 20, "the tables of promises were not found");
    for promise in promises {
        let tests = promise.rsplit("| ").next().unwrap();
        let quoted: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!quoted.is_empty(), "no test for: {promise}");
        for test in quoted {
            let (file, name) = test.split_once(": ").unwrap();
            let source = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(
                source.contains(&format!("fn {name}(")) || source.contains(&format!("mod {name} ")),
                "{file} has no test {name}"
            );
        }
    }
}
