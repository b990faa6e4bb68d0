//! Bar plots as SVG: each operation with its figure, its target and the other kernels' figures, on a logarithmic scale.
//!
//! Invariants: well-formed XML; a bar's length is proportional to the logarithm of its value, and one instruction has none.
//! Concurrency: pure.
//! Source: W3C, Scalable Vector Graphics 1.1.

use std::fmt::Write;

use super::table::find;

const LABELS: u32 = 250;
const BARS: u32 = 560;
const VALUES: u32 = 90;
const BAR: u32 = 11;
const GAP: u32 = 14;
const HEAD: u32 = 60;
const SERIES: [(&str, &str); 4] =
    [("Vela", "#1f5fa8"), ("target", "#9a9a9a"), ("NOVA 24.08", "#d98c2b"), ("Genode's NOVA", "#a8483a")];

/// A plot of the operations with their values in `unit`; peers and targets only if these are instructions.
pub fn bars(title: &str, unit: &str, operations: &[(String, u64)]) -> String {
    let rows: Vec<_> = operations.iter().map(|(name, value)| (name, series(name, *value, unit, operations))).collect();
    let most = rows.iter().flat_map(|(_, series)| series.iter().flatten()).max().copied().unwrap_or(10);
    let decades = (most.max(10) as f64).log10().ceil();
    let scale = |value: u64| (value.max(1) as f64).log10() / decades * f64::from(BARS);
    let height = HEAD + rows.iter().map(|(_, series)| row_height(series)).sum::<u32>() + 20;
    let width = LABELS + BARS + VALUES;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let _ = writeln!(svg, "<text x=\"10\" y=\"20\" font-size=\"14\">{}</text>", escaped(&format!("{title}, {unit}")));
    for (index, (name, colour)) in SERIES.iter().enumerate() {
        let x = LABELS + index as u32 * 130;
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"11\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"20\">{}</text>", x + 14, escaped(name));
    }
    for decade in 0..=decades as u32 {
        let x = f64::from(LABELS) + f64::from(decade) / decades * f64::from(BARS);
        let end = height - 15;
        let _ = writeln!(svg, "<path d=\"M{x:.1} {} V{end}\" stroke=\"#dddddd\"/>", HEAD - 12);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">1e{decade}</text>", HEAD - 16);
    }
    let mut y = HEAD;
    for (name, series) in &rows {
        let _ =
            writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LABELS - 8, y + 9, escaped(name));
        let drawn = series.iter().zip(SERIES).filter_map(|(value, (_, colour))| Some(((*value)?, colour)));
        for (index, (value, colour)) in drawn.enumerate() {
            let top = y + index as u32 * BAR;
            let length = scale(value);
            let _ = writeln!(
                svg,
                "<rect x=\"{LABELS}\" y=\"{top}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
                BAR - 1
            );
            let x = f64::from(LABELS + 4) + length;
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" font-size=\"10\">{value}</text>", top + 9);
        }
        y += row_height(series);
    }
    svg + "</svg>\n"
}

fn series(name: &str, value: u64, unit: &str, all: &[(String, u64)]) -> [Option<u64>; 4] {
    let entry = find(name).filter(|_| unit == "instructions");
    let figure = |name: &str| all.iter().find(|(other, _)| other == name).map(|&(_, value)| value);
    let target = entry.and_then(|entry| entry.target(figure));
    [Some(value), target, entry.and_then(|e| e.nova), entry.and_then(|e| e.genode)]
}

fn row_height(series: &[Option<u64>]) -> u32 {
    series.iter().flatten().count() as u32 * BAR + GAP
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Whether every element is closed in order and no text holds what has to be escaped.
#[cfg(test)]
pub fn is_well_formed(xml: &str) -> bool {
    let mut open = Vec::new();
    for part in xml.trim().split('<').skip(1) {
        let Some((tag, text)) = part.split_once('>') else { return false };
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => return false,
            (false, false) => open.push(name),
            _ => {}
        }
        let entities = text.matches('&').count() == text.matches(';').count();
        if text.contains('>') || !entities || tag.matches('"').count() % 2 != 0 {
            return false;
        }
    }
    open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(svg: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with(&format!("<rect x=\"{LABELS}\" y=")));
        let bars = bars.filter(|line| !line.contains("y=\"11\""));
        bars.filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok()).collect()
    }

    #[test]
    fn a_plot_is_well_formed_whatever_the_names() {
        let operations = [("null_hypercall".to_owned(), 70), ("<odd> & \"rest\"".to_owned(), 0)];
        for operations in [&operations[..], &[]] {
            let svg = bars("ipc", "instructions", operations);
            assert!(is_well_formed(&svg), "{svg}");
        }
        assert!(!is_well_formed("<svg><text></svg>"));
    }

    #[test]
    fn bars_grow_with_the_logarithm_and_peers_stand_beside() {
        let svg = bars("ipc", "instructions", &[("null_hypercall".into(), 10), ("odd".into(), 100)]);
        // Vela, target, two peers; and an operation that the table does not know.
        let widths = widths(&svg);
        assert_eq!(widths.len(), 5, "{svg}");
        assert!((widths[4] - f64::from(BARS)).abs() < 0.1 && (widths[0] * 2.0 - widths[4]).abs() < 0.2, "{widths:?}");
        assert_eq!(self::widths(&bars("ipc", "cycles", &[("null_hypercall".into(), 10)])).len(), 1);
    }
}
