//! The medians of CPU time as a bar chart: one SVG file without anything from elsewhere, for light and dark pages.
//!
//! Cases differ by two orders of magnitude, so each has a scale of its own: lengths compare runtimes, not cases.

use std::fmt::Write as _;

use super::bars::OURS;
use super::report::{Report, millis};

const WIDTH: usize = 720;
const HEAD: usize = 64;
/// Where bars begin, and how long the longest is.
const LEFT: usize = 76;
const LONGEST: usize = 540;
const BAR: usize = 16;
const STEP: usize = 20;
const GAP: usize = 18;
const TITLE: usize = 22;

const STYLE: &str = "\
    text{font:13px system-ui,sans-serif;fill:#1f2937}.head{font-size:17px;font-weight:600}\
    .case{font-weight:600}.about{font-size:12px}.note,.name{fill:#6b7280}.name{text-anchor:end}.page{fill:#fff}\
    .other{fill:#b6bfcc}.floor{fill:#6fb58d}.ours{fill:#2563eb}\
    @media(prefers-color-scheme:dark){text{fill:#e5e7eb}.note,.name{fill:#9ca3af}.page{fill:#15181d}\
    .other{fill:#4b5563}.floor{fill:#3f8f63}.ours{fill:#60a5fa}}";

impl Report {
    /// The chart as the text of an SVG file.
    #[must_use]
    pub fn chart(&self) -> String {
        let mut body = String::new();
        let mut y = HEAD;
        for row in self.rows() {
            y = self.draw_case(&mut body, row, y) + GAP;
        }
        let about = format!(
            "CPU ms, median of {} interleaved runs, a scale for each case; Linux {}, cgroups {}",
            self.runs, self.kernel, self.cgroups
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\">\n\
             <title>CPU time of container runtimes</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{y}\"/>\n\
             <text class=\"head\" x=\"16\" y=\"28\">What a container costs: shorter is better</text>\n\
             <text class=\"note about\" x=\"16\" y=\"48\">{}</text>\n{body}</svg>\n",
            escape(&about)
        )
    }

    /// Draws one case from `top` on and returns where it ends.
    fn draw_case(&self, body: &mut String, row: &str, top: usize) -> usize {
        let of = |index: usize| self.runtimes[index].row(row).map(|summary| summary.cpu_median);
        let values: Vec<(usize, u128)> =
            (0..self.runtimes.len()).filter_map(|index| Some((index, of(index)?))).collect();
        let most = values.iter().map(|(_, value)| *value).max().unwrap_or(1).max(1);
        let _ = writeln!(body, "<text class=\"case\" x=\"16\" y=\"{}\">{row}</text>", top + 14);
        let mut y = top + TITLE;
        for (index, value) in values {
            let name = &self.runtimes[index].name;
            let class = match name.as_str() {
                OURS => "ours",
                super::FLOOR => "floor",
                _ => "other",
            };
            let length = usize::try_from(value * LONGEST as u128 / most).unwrap_or(LONGEST).max(2);
            let (baseline, end) = (y + 13, LEFT + length + 6);
            let _ = writeln!(
                body,
                "<text class=\"name\" x=\"{}\" y=\"{baseline}\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length}\" height=\"{BAR}\" rx=\"2\"/>\
                 <text x=\"{end}\" y=\"{baseline}\">{}</text>",
                LEFT - 8,
                escape(name),
                millis(value)
            );
            y += STEP;
        }
        y
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report_of;

    #[test]
    fn the_longest_bar_is_the_slowest_and_the_others_are_in_proportion() {
        let chart = report_of(&[("nrun", 1_000), ("a<b", 4_000)]).chart();
        assert!(chart.contains("width=\"540\" height=\"16\""), "{chart}");
        assert!(chart.contains("class=\"ours\" x=\"76\" y=\"86\" width=\"135\""), "{chart}");
        assert!(chart.contains(">4.00<") && chart.contains(">a&lt;b<"), "{chart}");
        assert_eq!(chart.matches('<').count(), chart.matches('>').count());
    }
}
