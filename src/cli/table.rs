//! Columns of text.

use std::fmt::Write;

/// Rows as columns, two spaces in front and between: numbers to the right, text to the left. The first
/// row is the heading. What others chose (names of devices, versions that nobody knows) must not
/// command the terminal, so control characters are escaped.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let number = |column: usize| rows.iter().skip(1).filter_map(|row| row.get(column)).all(|cell| cell.parse::<u64>().is_ok());
    let shape: Vec<(usize, bool)> = (0..columns).map(|column| (width(column), number(column))).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, (width, number)) in row.iter().zip(&shape) {
            // Writing to a String cannot fail.
            let _ = if *number { write!(line, "  {cell:>width$}") } else { write!(line, "  {cell:<width$}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text that cannot command a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn numbers_stand_right_and_nothing_commands_the_terminal() {
        let rows = [["name", "n"], ["a\u{1b}[2J", "5"], ["b", "1234"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "  name           n\n  a\\u{1b}[2J     5\n  b           1234\n");
    }
}
