use jiff::Timestamp;
use millet_protocol::RampPoint;
use millet_rollout::share_at;

/// A ramp as lines in a box of 1000 by 100, time to the right and share upwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is cleared, up to now: points of an SVG polyline.
    pub done: String,
    /// The area under it.
    pub area: String,
    /// What follows if all goes well.
    pub planned: String,
    /// Where now is.
    pub now_x: String,
    /// The height of now.
    pub now_y: String,
    /// The first moment.
    pub begins: Timestamp,
    /// The last moment.
    pub ends: Timestamp,
}

impl Chart {
    /// Draws a ramp and its forecast; nothing when there is no time to draw.
    pub fn draw(ramp: &[RampPoint], forecast: &[RampPoint], now: Timestamp) -> Option<Self> {
        let first = ramp.first()?;
        let whole: Vec<RampPoint> = ramp.iter().chain(forecast).copied().collect();
        let last = whole.last()?;
        let (begins, ends) = (first.at, last.at.max(now));
        let seconds = ends.duration_since(begins).as_secs_f64();
        if seconds <= 0.0 || (ramp.len() == 1 && forecast.is_empty()) {
            return None;
        }
        let place = |at: Timestamp, percent: f64| {
            let x = at.duration_since(begins).as_secs_f64() / seconds * 1000.0;
            format!("{x:.1},{:.1}", 100.0 - percent)
        };
        let here = (now, share_at(ramp, now));
        let passed = whole
            .iter()
            .filter(|point| point.at <= now)
            .map(|point| (point.at, point.percent));
        let done: Vec<String> = passed
            .chain([here])
            .map(|(at, percent)| place(at, percent))
            .collect();
        let ahead = whole
            .iter()
            .filter(|point| point.at > now)
            .map(|point| (point.at, point.percent));
        let planned: Vec<String> = [here]
            .into_iter()
            .chain(ahead)
            .map(|(at, percent)| place(at, percent))
            .collect();
        let now_place = place(now, here.1);
        let (now_x, now_y) = now_place.split_once(',')?;
        Some(Self {
            area: format!("0,100 {} {now_x},100", done.join(" ")),
            done: done.join(" "),
            planned: planned.join(" "),
            now_x: now_x.to_owned(),
            now_y: now_y.to_owned(),
            begins,
            ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, percent: f64) -> RampPoint {
        RampPoint {
            at: Timestamp::from_second(second).unwrap(),
            percent,
        }
    }

    #[test]
    fn half_way() {
        let now = Timestamp::from_second(100).unwrap();
        let chart = Chart::draw(&[point(0, 0.0), point(200, 20.0)], &[point(400, 100.0)], now).unwrap();
        assert_eq!(chart.done, "0.0,100.0 250.0,90.0");
        assert_eq!(chart.planned, "250.0,90.0 500.0,80.0 1000.0,0.0");
        assert_eq!(chart.area, "0,100 0.0,100.0 250.0,90.0 250.0,100");
    }

    #[test]
    fn nothing_to_draw() {
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(Chart::draw(&[], &[], now), None);
        assert_eq!(Chart::draw(&[point(0, 100.0)], &[], now), None);
    }
}
