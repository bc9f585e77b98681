//! Bytes of a camera or a picture to network input, in integers.
