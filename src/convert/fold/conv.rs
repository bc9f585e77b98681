//! Convolutions and dense layers.

use super::layout::Order;
use super::{Conv, ConvertError, Draft, Folder, Operation, Second, StepOp, Value, What, Window, padded};

impl<'a> Folder<'a> {
    pub(super) fn conv(&mut self, operation: &'a Operation, window: Window, groups: usize, weights: &str, bias: Option<&str>) -> Result<Value, ConvertError> {
        if let Some(value) = self.along_channels(operation, window, weights, bias)? {
            return Ok(value);
        }
        let before = self.take_affine(operation, window.unpadded());
        let (view, [h, w, c]) = self.picture(operation)?;
        let (data, dims) = self.constant(operation, weights)?;
        let [kh, kw, depth] = [window.kernel[0] as usize, window.kernel[1] as usize, c as usize / groups.max(1)];
        let (out, shape) = match *dims {
            [out, d, y, x] => (out, [d, y, x]),
            [out, d, x] => (out, [d, 1, x]),
            _ => return Err(operation.node.wrong(format!("weights of the shape {dims:?}"))),
        };
        if shape != [depth, kh, kw] || out == 0 || groups == 0 || depth * groups != c as usize || !out.is_multiple_of(groups) {
            return Err(operation.node.wrong(format!("weights of the shape {dims:?} on {c} channels in {groups} groups")));
        }
        if view.pads != [0; 4] && view.value != 0.0 {
            return Err(operation.node.unsupported("the Pad in front of it is not of zeros", "a border of zeros is supported"));
        }
        let window = padded(window, view.pads);
        let mut bias = bias.map_or_else(|| Ok(vec![0.0; out]), |name| self.vector(operation, name, out))?;
        let mut turned = Vec::with_capacity(data.len());
        for filter in data.chunks_exact(depth * kh * kw) {
            for pixel in 0..kh * kw {
                turned.extend((0..depth).map(|i| filter[i * kh * kw + pixel]));
            }
        }
        let mut steps = self.steps(weights, 0, out);
        if let Some((scale, shift)) = before {
            steps.clear();
            absorb(&mut turned, &mut bias, groups, &scale, &shift);
        }
        let [oh, ow] = window.output(h, w).ok_or_else(|| operation.node.wrong("the window does not fit the input"))?;
        let number = |n: usize| u32::try_from(n).map_err(|_| operation.node.wrong("too many channels"));
        let (oc, groups) = (number(out)?, number(groups)?);
        let conv = Conv { window, groups, weights: turned, steps, bias, second: Second::None };
        Ok(self.draft(operation, StepOp::Conv(conv), view.tensor, [oh, ow, oc], false))
    }

    /// A convolution along the channels of a mean (efficient channel attention): a dense layer whose matrix is a band.
    fn along_channels(&mut self, operation: &'a Operation, window: Window, weights: &str, bias: Option<&str>) -> Result<Option<Value>, ConvertError> {
        let value = self.read(operation, 0)?;
        let [h, w, c] = self.shape(&value);
        let dims = self.dims(operation, &operation.reads[0])?;
        if h * w != 1 || c == 1 || !matches!(dims, [1, 1, n] | [1, 1, 1, n] if *n == c as usize) || matches!(value.what, What::View(_)) {
            return Ok(None);
        }
        let tensor = self.view(&value).tensor;
        let (data, shape) = self.constant(operation, weights)?;
        let kernel = window.kernel[1] as usize;
        let (Some([1, out]), true) = (window.output(1, c), shape.first() == Some(&1) && data.len() == kernel && window.kernel[0] == 1) else {
            return Err(operation.node.unsupported(format!("weights of the shape {shape:?} along the channels"), "one filter along the channels is supported"));
        };
        let term = bias.map_or_else(|| Ok(vec![0.0]), |name| self.vector(operation, name, 1))?;
        let mut band = vec![0.0; out as usize * c as usize];
        for (o, row) in band.chunks_exact_mut(c as usize).enumerate() {
            for (k, weight) in data.iter().enumerate() {
                let at = (o * window.stride[1] as usize + k * window.dilation[1] as usize).checked_sub(window.pads[1] as usize);
                if let Some(cell) = at.and_then(|i| row.get_mut(i)) {
                    *cell += weight;
                }
            }
        }
        let conv = Conv { window: Window::point([1, 1]), groups: 1, weights: band, steps: Vec::new(), bias: vec![term[0]; out as usize], second: Second::None };
        Ok(Some(self.draft(operation, StepOp::Conv(conv), tensor, [1, 1, out], false)))
    }

    /// The factors and shifts of the affine that only `operation` reads, taken out of the way, if a convolution can have them in its weights: it has no border, or the border's
    /// zeros stay zeros.
    fn take_affine(&mut self, operation: &'a Operation, unpadded: bool) -> Option<(Vec<f64>, Vec<f64>)> {
        let d = self.own_draft(operation, 0)?;
        let Some(Draft { op: StepOp::Affine { shift, .. }, relu: false, .. }) = &self.drafts[d] else { return None };
        if !unpadded && shift.iter().any(|&s| s != 0.0) {
            return None;
        }
        let Some(Draft { op: StepOp::Affine { scale, shift }, input, .. }) = self.drafts[d].take() else { return None };
        let order = self.read(operation, 0).ok()?.order;
        self.values.insert(&operation.reads[0], Value { what: What::Tensor(input), order });
        Some((scale, shift))
    }

    pub(super) fn dense(
        &mut self,
        operation: &'a Operation,
        weights: &str,
        transposed: bool,
        alpha: f64,
        bias: Option<(&str, f64)>,
    ) -> Result<Value, ConvertError> {
        let before = self.take_affine(operation, true);
        let value = self.read(operation, 0)?;
        let row = self.dims(operation, &operation.reads[0])?;
        let input = self.whole(operation, &value)?;
        let [h, w, c] = self.tensors[input].shape;
        let [height, width, depth] = [h, w, c].map(|n| n as usize);
        let n = height * width * depth;
        let (data, dims) = self.constant(operation, weights)?;
        let &[first, second] = dims else { return Err(operation.node.wrong(format!("weights of the shape {dims:?}"))) };
        let (out, inner) = if transposed { (first, second) } else { (second, first) };
        if inner != n || !row.iter().filter(|&&d| d != 1).eq((n != 1).then_some(&n)) || out == 0 {
            return Err(operation
                .node
                .unsupported(format!("weights of the shape {dims:?} on an input {row:?}"), "a dense layer over a whole tensor is supported"));
        }
        let element = |o: usize, i: usize| alpha * if transposed { data[o * n + i] } else { data[i * out + o] };
        let mut turned = Vec::with_capacity(data.len());
        for o in 0..out {
            for pixel in 0..height * width {
                for channel in 0..depth {
                    let i = if value.order == Order::Chw { channel * height * width + pixel } else { pixel * depth + channel };
                    turned.push(element(o, i));
                }
            }
        }
        let mut bias = match bias {
            None => vec![0.0; out],
            Some((name, beta)) => {
                let (values, dims) = self.constant(operation, name)?;
                match values[..] {
                    [one] => vec![one * beta; out],
                    _ if values.len() == out => values.iter().map(|v| v * beta).collect(),
                    _ => return Err(operation.node.wrong(format!("a bias of the shape {dims:?} for {out} outputs"))),
                }
            }
        };
        let mut steps = self.steps(weights, usize::from(!transposed), out);
        steps.iter_mut().for_each(|s| *s *= alpha);
        if let Some((scale, shift)) = before {
            steps.clear();
            absorb(&mut turned, &mut bias, 1, &scale, &shift);
        }
        let oc = u32::try_from(out).map_err(|_| operation.node.wrong("too many channels"))?;
        let window = Window { kernel: [h, w], ..Window::point([1, 1]) };
        let conv = Conv { window, groups: 1, weights: turned, steps, bias, second: Second::None };
        Ok(self.draft(operation, StepOp::Conv(conv), input, [1, 1, oc], false))
    }
}

/// Weights `[out][pixel][in]` and bias of a convolution over `x`, made from those over `x · scale + shift`.
fn absorb(weights: &mut [f64], bias: &mut [f64], groups: usize, scale: &[f64], shift: &[f64]) {
    let (row, depth, each) = (weights.len() / bias.len(), scale.len() / groups, bias.len() / groups);
    for (o, (filter, bias)) in weights.chunks_exact_mut(row).zip(bias).enumerate() {
        let first = o / each * depth;
        for (i, weight) in filter.iter_mut().enumerate() {
            *bias += *weight * shift[first + i % depth];
            *weight *= scale[first + i % depth];
        }
    }
}
