//! How values become places in a picture.

/// Where a picture has its panel: from `left` to `right`, from `bottom` up to `top`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Panel {
    /// Of `value`, where `max` is at the right edge.
    pub(crate) fn x(&self, max: f64, value: f64) -> f64 {
        self.left + (self.right - self.left) * value / max
    }

    /// Of `value`, where `max` is at the top.
    pub(crate) fn y(&self, max: f64, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / max
    }
}

/// Each value is a step from its place to the next: corners, to be joined by a line.
pub(crate) fn steps(values: &[f64], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> Vec<String> {
    let corner = |place: f64, value: f64| format!("{:.1},{:.1}", x(place), y(value));
    let step =
        |(place, value): (usize, &f64)| [corner(place as f64, *value), corner(place as f64 + 1.0, *value)];
    values.iter().enumerate().flat_map(step).collect()
}

/// The next number of one figure, or of one and a half.
pub(crate) fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|bound| *bound >= value).unwrap_or(value)
}

/// A round distance between ticks, so that there are no more than so many up to `max`.
pub(crate) fn tick(max: f64, most: f64) -> f64 {
    let least = max / most;
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= least).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_and_tick_at_round_numbers() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(near(ceiling(1_234.0), 1_500.0) && near(ceiling(10.0), 10.0));
        assert!(
            near(tick(3.5, 6.0), 1.0) && near(tick(40_000.0, 6.0), 10_000.0) && near(tick(0.3, 6.0), 0.05)
        );
        let panel = Panel { left: 10.0, right: 20.0, top: 0.0, bottom: 100.0 };
        assert!(near(panel.x(4.0, 2.0), 15.0) && near(panel.y(4.0, 1.0), 75.0));
        assert_eq!(steps(&[1.0, 3.0], |x| x, |y| y), ["0.0,1.0", "1.0,1.0", "1.0,3.0", "2.0,3.0"]);
    }
}
