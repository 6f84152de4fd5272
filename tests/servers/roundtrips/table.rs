//! The table of `contrib/ROUNDTRIPS.md`: what is documented is what is asserted.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// What an operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Until the operation returns.
    pub(super) round_trips: u64,
    /// On all control connections, until nothing happens any more.
    pub(super) commands: u64,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.round_trips, self.commands)
    }
}

impl Cell {
    fn parse(text: &str) -> Option<Cell> {
        let (round_trips, commands) = text.strip_suffix(')')?.split_once(" (")?;
        Some(Cell { round_trips: round_trips.parse().ok()?, commands: commands.parse().ok()? })
    }
}

/// The document: lines, and where the table is in them.
#[derive(Debug)]
pub(super) struct Table {
    before: String,
    /// The heads of the columns; the first is that of the operations.
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    after: String,
}

/// First cell of the table's head.
const HEAD: &str = "operation";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib/ROUNDTRIPS.md")
}

impl Table {
    pub(super) fn load() -> Table {
        Table::parse(&fs::read_to_string(path()).expect("no contrib/ROUNDTRIPS.md"))
    }

    fn parse(text: &str) -> Table {
        let start = text.find(&format!("| {HEAD} |")).expect("contrib/ROUNDTRIPS.md has no table");
        let lines: Vec<&str> = text[start..].lines().take_while(|line| line.starts_with('|')).collect();
        let len: usize = lines.iter().map(|line| line.len() + 1).sum();
        let cells = |line: &&str| -> Vec<String> {
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        Table {
            before: text[..start].to_owned(),
            heads: cells(&lines[0]),
            rows: lines[2..].iter().map(cells).collect(),
            after: text.get(start + len..).unwrap_or_default().to_owned(),
        }
    }

    /// What the operation costs there.
    pub(super) fn cell(&self, operation: &str, column: &str) -> Option<Cell> {
        let column = self.heads.iter().position(|head| head == column)?;
        Cell::parse(self.rows.iter().find(|row| row[0] == operation)?.get(column)?)
    }

    /// Whether this is no more than documented. Where many connections take part, who comes first is chance: an eighth
    /// more is allowed, which is nothing below eight.
    pub(super) fn allows(&self, operation: &str, column: &str, cell: Cell) -> bool {
        let most = |known: u64| known + known / 8;
        self.cell(operation, column).is_some_and(|known| {
            cell.round_trips <= most(known.round_trips) && cell.commands <= most(known.commands)
        })
    }

    /// Writes the document anew with one column as it was measured. The rows are in the order of the operations;
    /// those that are measured no more go.
    pub(super) fn update(column: &str, measured: impl Iterator<Item = (&'static str, Cell)>) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut table = Table::load();
        table.set(column, measured);
        fs::write(path(), table.to_string()).unwrap();
    }

    fn set(&mut self, column: &str, measured: impl Iterator<Item = (&'static str, Cell)>) {
        let at = match self.heads.iter().position(|head| head == column) {
            Some(at) => at,
            None => {
                self.heads.push(column.to_owned());
                self.heads.len() - 1
            }
        };
        let old = std::mem::take(&mut self.rows);
        self.rows = measured
            .map(|(operation, cell)| {
                let row = old.iter().find(|row| row[0] == operation).cloned();
                let mut row = row.unwrap_or_else(|| vec![operation.to_owned()]);
                row.resize(self.heads.len(), String::new());
                row[at] = cell.to_string();
                row
            })
            .collect();
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = "|---".repeat(self.heads.len());
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        write!(f, "{}{}{rule}|\n{rows}{}", self.before, line(&self.heads), self.after)
    }
}

#[test]
fn a_column_can_be_written_anew() {
    let text = "# A\n\n| operation | one | two |\n|---|---|---|\n| rm | 1 (2) | 3 (4) |\n| gone | 1 (1) | 1 (1) |\n\nend\n";
    let mut table = Table::parse(text);
    assert_eq!(table.to_string(), text);
    assert_eq!(table.cell("rm", "two"), Some(Cell { round_trips: 3, commands: 4 }));
    assert_eq!(table.cell("rm", "three"), None);
    assert_eq!(table.cell("ls", "two"), None);
    let allows = |round_trips, commands| table.allows("rm", "two", Cell { round_trips, commands });
    assert!(
        allows(3, 4)
            && !allows(4, 4)
            && !allows(3, 5)
            && !table.allows("ls", "two", Cell { round_trips: 0, commands: 0 })
    );
    let cell = |round_trips| Cell { round_trips, commands: 9 };
    table.set("two", [("mount", cell(7)), ("rm", cell(8))].into_iter());
    let rows = "| mount |  | 7 (9) |\n| rm | 1 (2) | 8 (9) |\n";
    assert_eq!(table.to_string(), format!("# A\n\n| operation | one | two |\n|---|---|---|\n{rows}\nend\n"));
}
