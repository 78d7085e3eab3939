"""Small videos of known content, for the tests of whatever reads videos."""

import io
from fractions import Fraction

import av
import numpy as np

# Container -> (video codec, pixel format, sound codec): what the wild has, as far as FFmpeg's free encoders go.
KINDS = {
    ".mp4": ("mpeg4", "yuv420p", "aac"),
    ".mkv": ("mjpeg", "yuvj444p", "pcm_s16le"),
    ".avi": ("mjpeg", "yuvj444p", "pcm_s16le"),
    ".flv": ("flv1", "yuv420p", "pcm_s16le"),
    ".webm": ("libvpx", "yuv420p", "libopus"),
}


def grey(levels, size=(32, 48)):
    """One picture of (height, width) for each level of 0 to 255."""
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def tone(seconds, rate, frequency=440.0, amplitude=0.5):
    """(1, T) float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


def write_video(path, pictures=None, *, fps=10, times=None, sound=None, rate=None, codecs=None):
    """Write pictures (H, W, 3), shown at ``times`` in seconds or at ``fps``, and sound (C, T) in [-1, 1]."""
    video_codec, pixels, sound_codec = codecs or KINDS[path.suffix]
    packets = []
    with av.open(str(path), "w") as container:
        if pictures is not None:
            stream = container.add_stream(video_codec, rate=fps)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pixels
            stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
            stream.bit_rate = 2_000_000
        if sound is not None:
            sound_stream = container.add_stream(sound_codec, rate=rate)
            sound_stream.layout = {1: "mono", 2: "stereo"}[len(sound)]
        if pictures is not None:
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = round(1000 * times[number]) if times else number
                frame.time_base = stream.codec_context.time_base
                packets += stream.encode(frame)
            packets += stream.encode()
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=sound_stream.layout.name)
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while part := fifo.read(1024, partial=True):
                packets += sound_stream.encode(part)
            packets += sound_stream.encode()
        container.mux(packets)  # interleaves them
    return path


def copied(source, path, *, shift=0.0, cut=0.0, options=None, pipe=False):
    """The packets of a video in another container, ``shift`` seconds later; those before ``cut`` are not shown."""
    out = io.BytesIO()
    # What cannot seek is a pipe: lengths stay unwritten.
    target = type("Pipe", (), {"write": lambda self, data: out.write(data)})() if pipe else str(path)
    kind = {"mkv": "matroska", "ts": "mpegts"}.get(path.suffix[1:], path.suffix[1:])
    options = {"avoid_negative_ts": "disabled", **(options or {})}
    with av.open(str(source)) as given, av.open(target, "w", format=kind, options=options) as container:
        streams = [container.add_stream_from_template(stream) for stream in given.streams]
        for packet in given.demux():
            if packet.dts is not None:
                moved = round((Fraction(str(shift)) - Fraction(str(cut))) / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                packet.stream = streams[packet.stream_index]
                container.mux_one(packet)
    if pipe:
        path.write_bytes(out.getvalue())
    return path
