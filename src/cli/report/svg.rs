//! Charts as SVG text: axes, lines, bars.

use core::fmt::{Display, Write as _};

/// A chart in the making: a frame in pixels, and the range of values that it spans.
#[derive(Clone, Debug)]
pub struct Chart {
    size: [f64; 2],
    /// Pixels left, above, right and below the frame.
    margin: [f64; 4],
    x: [f64; 2],
    y: [f64; 2],
    body: String,
}

/// Text that may stand in HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    /// An empty chart of a size in pixels, over ranges of values.
    #[must_use]
    pub fn new(size: [f64; 2], margin: [f64; 4], x: [f64; 2], y: [f64; 2]) -> Self {
        let wide = |r: [f64; 2]| if r[1] > r[0] { r } else { [r[0], r[0] + 1.0] };
        Self { size, margin, x: wide(x), y: wide(y), body: String::new() }
    }

    /// Where a value of the horizontal axis lies.
    #[must_use]
    pub fn at_x(&self, v: f64) -> f64 {
        let [left, _, right, _] = self.margin;
        left + (v - self.x[0]) / (self.x[1] - self.x[0]) * (self.size[0] - left - right)
    }

    /// Where a value of the vertical axis lies.
    #[must_use]
    pub fn at_y(&self, v: f64) -> f64 {
        let [_, top, _, bottom] = self.margin;
        self.size[1] - bottom - (v - self.y[0]) / (self.y[1] - self.y[0]) * (self.size[1] - top - bottom)
    }

    /// Lines and numbers of the vertical axis, with its name.
    pub fn rows(&mut self, name: &str) {
        let [left, top, right, _] = self.margin;
        for v in ticks(self.y, 5) {
            let y = self.at_y(v);
            let _ = write!(self.body, "<line class=grid x1={left:.1} x2={:.1} y1={y:.1} y2={y:.1} />", self.size[0] - right);
            self.text([left - 6.0, y + 4.0], "end", number(v));
        }
        self.text([left, top - 8.0], "start", name);
    }

    /// Numbers of the horizontal axis, with its name.
    pub fn columns(&mut self, name: &str) {
        let [_, _, right, bottom] = self.margin;
        let base = self.size[1] - bottom;
        for v in ticks(self.x, 8) {
            let x = self.at_x(v);
            let _ = write!(self.body, "<line class=grid x1={x:.1} x2={x:.1} y1={base:.1} y2={:.1} />", base + 4.0);
            self.text([x, base + 16.0], "middle", number(v));
        }
        self.text([self.size[0] - right, base + 32.0], "end", name);
    }

    /// Text at a place in pixels.
    pub fn text(&mut self, at: [f64; 2], anchor: &str, text: impl Display) {
        let _ = write!(self.body, "<text x={:.1} y={:.1} text-anchor={anchor}>{}</text>", at[0], at[1], escape(&text.to_string()));
    }

    /// A line through values.
    pub fn line(&mut self, points: &[[f64; 2]], class: &str) {
        let points: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", self.at_x(p[0]), self.at_y(p[1]))).collect();
        let _ = write!(self.body, "<polyline class=\"line {class}\" points=\"{}\" />", points.join(" "));
    }

    /// A dot at a value, with text for the pointer.
    pub fn dot(&mut self, at: [f64; 2], class: &str, title: &str) {
        let _ = write!(self.body, "<circle class={class} cx={:.1} cy={:.1} r=3><title>{}</title></circle>", self.at_x(at[0]), self.at_y(at[1]), escape(title));
    }

    /// A filled rectangle between values, with text for the pointer.
    pub fn area(&mut self, x: [f64; 2], y: [f64; 2], class: &str, title: &str) {
        let (left, top) = (self.at_x(x[0]), self.at_y(y[1]));
        let (width, height) = (self.at_x(x[1]) - left, self.at_y(y[0]) - top);
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) };
        let _ = write!(self.body, "<rect class={class} x={left:.1} y={top:.1} width={:.1} height={:.1}>{title}</rect>", width.max(0.5), height.max(0.5));
    }

    /// Names of what the classes stand for, at the top right.
    pub fn legend(&mut self, entries: &[(&str, &str)]) {
        let mut x = self.size[0] - self.margin[2];
        for (class, name) in entries.iter().rev() {
            x -= 7.0 * name.chars().count() as f64 + 6.0;
            let _ = write!(self.body, "<rect class={class} x={:.1} y={:.1} width=10 height=10 />", x - 14.0, self.margin[1] - 17.0);
            self.text([x, self.margin[1] - 8.0], "start", name);
            x -= 26.0;
        }
    }

    /// The element.
    #[must_use]
    pub fn finish(self) -> String {
        let [w, h] = self.size;
        format!("<svg viewBox=\"0 0 {w:.0} {h:.0}\" width={w:.0} height={h:.0} role=img>{}</svg>\n", self.body)
    }
}

/// Round numbers inside a range, about `n` of them.
fn ticks([low, high]: [f64; 2], n: usize) -> Vec<f64> {
    let rough = (high - low) / n as f64;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * unit).find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil();
    (0..=2 * n).map(|i| (first + i as f64) * step).take_while(|v| *v <= high + step * 1e-9).collect()
}

/// A number in three figures.
#[must_use]
pub fn number(v: f64) -> String {
    let short = |v: f64, unit: &str| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let places = if v == 0.0 { 0 } else { (2.0 - v.abs().log10().floor()).clamp(0.0, 8.0) as usize };
        let text = format!("{v:.places$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
        format!("{text}{unit}")
    };
    match v.abs() {
        a if a >= 1e6 => short(v / 1e6, "M"),
        a if a >= 1e4 => short(v / 1e3, "k"),
        _ => short(v, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        assert_eq!(ticks([0.0, 10.0], 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks([-3.0, 47.0], 5), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!([0.0, 0.25, 3.0, 12.5, 20_000.0, 2_500_000.0, 0.0003, -0.012].map(number), ["0", "0.25", "3", "12.5", "20k", "2.5M", "0.0003", "-0.012"]);
    }

    #[test]
    fn values_lie_in_the_frame() {
        let mut chart = Chart::new([100.0, 50.0], [10.0; 4], [0.0, 4.0], [0.0, 2.0]);
        assert_eq!((chart.at_x(0.0), chart.at_x(4.0), chart.at_y(0.0), chart.at_y(2.0)), (10.0, 90.0, 40.0, 10.0));
        chart.dot([1.0, 1.0], "a", "x < \"y\"");
        assert!(chart.finish().contains("<title>x &lt; &quot;y&quot;</title>"));
        assert!(Chart::new([9.0; 2], [0.0; 4], [1.0, 1.0], [0.0, 1.0]).at_x(1.0).is_finite());
    }
}
