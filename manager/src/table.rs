//! Columns as Docker prints them: upper-case heads, three spaces between, each as wide as its widest cell and at least
//! ten characters.

/// Docker's least width of a column, with the space behind it.
const LEAST: usize = 10;
/// Between two columns.
const GAP: usize = 3;

/// Rows under heads.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The text, each line with its newline.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> =
            (0..columns).map(|column| (width(column).unwrap_or(0) + GAP).max(LEAST)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}"));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Makes a cell of text that somebody else chose: what would move the cursor or end the line is escaped.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Shortens to `length` characters, the last of them an ellipsis.
#[must_use]
pub fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(length - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG HEAD", "B"]);
        table.push(vec!["wider and wider".into(), "x".into(), String::new()]);
        assert_eq!(table.render(), "A                 LONG HEAD   B\nwider and wider   x\n");
        let mut narrow = Table::new(&["A", "B"]);
        narrow.push(vec!["x".into(), "y".into()]);
        assert_eq!(narrow.render(), "A         B\nx         y\n");
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        assert_eq!(plain("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
