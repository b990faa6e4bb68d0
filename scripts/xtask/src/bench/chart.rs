//! Line plots as SVG.
//!
//! Invariants: every point lies within the axes; on a logarithmic axis there is none below 1.
//! Concurrency: pure.
//! Source: the crate `plotters`.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// How an axis goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// From 0 on.
    Linear,
    /// From 1 on, decade by decade.
    Logarithmic,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub label: String,
    /// Whether it is broken: the protocol to compare with.
    pub dashed: bool,
    /// What it goes through, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What stands above it.
    pub title: String,
    /// Name and scale of the axis to the right.
    pub x: (&'a str, Scale),
    /// Name and scale of the axis upwards.
    pub y: (&'a str, Scale),
    /// The lines; a broken one has the colour of the one before it.
    pub lines: Vec<Line>,
}

const SIZE: (u32, u32) = (860, 480);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x5f, 0xa8),
    RGBColor(0xd9, 0x8c, 0x2b),
    RGBColor(0x3d, 0x8b, 0x4f),
    RGBColor(0xa8, 0x48, 0x3a),
    RGBColor(0x6b, 0x4f, 0xa0),
    RGBColor(0x55, 0x55, 0x55),
];

impl Chart<'_> {
    /// The plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let (right, top) = all().fold((1.0, 1.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
        let least = all().fold(top, |y, point| y.min(point.1)).max(1.0);
        // The names of the lines stand at the top on the left, or where points on two logarithmic axes seldom are.
        let (right, bottom) = (right * 1.02, 10_f64.powf(least.log10().floor()));
        match (self.x.1, self.y.1) {
            (Scale::Linear, Scale::Linear) => self.draw(0.0..right, 0.0..top * 1.4),
            (Scale::Linear, Scale::Logarithmic) => self.draw(0.0..right, (bottom..top * 2.0).log_scale()),
            (Scale::Logarithmic, Scale::Linear) => self.draw((1.0..right).log_scale(), 0.0..top * 1.4),
            (Scale::Logarithmic, Scale::Logarithmic) => {
                self.draw((1.0..right).log_scale(), (bottom..top * 2.0).log_scale())
            }
        }
    }

    fn draw<X, Y>(&self, x: X, y: Y) -> Result<String>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut svg = String::new();
        self.paint(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), x, y)
            .map_err(|error| anyhow!("the plot \"{}\" cannot be drawn: {error}", self.title))?;
        Ok(svg)
    }

    fn paint<X, Y, B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        x: X,
        y: Y,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(x, y)?;
        let number = |value: &f64| grouped(*value);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x.0).y_desc(self.y.0).x_label_formatter(&number).y_label_formatter(&number);
        mesh.light_line_style(WHITE).draw()?;
        let mut colours = COLOURS.iter().cycle();
        let mut colour = BLACK;
        for line in &self.lines {
            if !line.dashed {
                colour = *colours.next().unwrap_or(&BLACK);
            }
            let style = colour.stroke_width(2);
            let key = move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style);
            let points = line.points.iter().copied();
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(points.clone(), 7, 5, style))?;
            } else {
                chart.draw_series(LineSeries::new(points.clone(), style))?;
            }
            let filled = if line.dashed { colour.stroke_width(1) } else { colour.filled() };
            let dots = chart.draw_series(points.map(|point| Circle::new(point, 3, filled)))?;
            let label = if line.dashed { format!("{} (- -)", line.label) } else { line.label.clone() };
            dots.label(label).legend(key);
        }
        chart
            .configure_series_labels()
            .position(match self.y.1 {
                Scale::Linear => SeriesLabelPosition::UpperLeft,
                Scale::Logarithmic => SeriesLabelPosition::LowerRight,
            })
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()
    }
}

/// A number as an axis shows it, thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plot::is_well_formed;

    fn chart(x: Scale, y: Scale) -> String {
        let line =
            |label: &str, dashed| Line { label: label.into(), dashed, points: vec![(1.0, 900.0), (8.0, 7000.0)] };
        let lines = vec![line("precise <1>", false), line("naive", true)];
        let chart = Chart { title: "A & B".into(), x: ("cores", x), y: ("instructions", y), lines };
        chart.svg().unwrap()
    }

    #[test]
    fn a_plot_is_well_formed_on_all_scales() {
        for x in [Scale::Linear, Scale::Logarithmic] {
            for y in [Scale::Linear, Scale::Logarithmic] {
                let svg = chart(x, y);
                assert!(is_well_formed(&svg), "{svg}");
                assert!(
                    ["A &amp; B", "cores", "instructions", "precise &lt;1&gt;"].iter().all(|text| svg.contains(text))
                );
                assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
            }
        }
    }

    #[test]
    fn a_plot_without_points_is_one_too() {
        let chart = Chart { title: String::new(), x: ("", Scale::Linear), y: ("", Scale::Logarithmic), lines: vec![] };
        assert!(is_well_formed(&chart.svg().unwrap()));
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0.0, 950.0, 1000.0, 1_234_567.0].map(grouped), ["0", "950", "1 000", "1 234 567"]);
    }
}
