"""Sounds and pictures for the ``--sample`` data sets: pure functions of their arguments and a generator.

A sound's class is meant to be easy to hear and a picture's class hard to see, so that one modality is strong
and the other weak and a joint network leans on the strong one.
"""

import numpy as np


def tone(
    rng: np.random.Generator,
    *,
    seconds: float,
    sample_rate: int,
    frequency: float,
    sweep: float = 0.0,
    tremolo: float = 0.0,
    noise: float = 0.4,
) -> np.ndarray:
    """A tone of three harmonics under white noise.

    Args:
        rng: draws the phase, the detuning (up to a semitone either way) and the noise.
        seconds: length.
        sample_rate: in Hz.
        frequency: of the first harmonic at the middle of the clip, in Hz.
        sweep: how far the pitch rises over the clip, in octaves; negative falls.
        tremolo: how often a second the loudness goes to zero and back, in Hz; 0 is steady.
        noise: standard deviation of the noise; the tone's own is about 0.4.

    Returns:
        (round(seconds * sample_rate),) float32 in [-1, 1].
    """
    time_T = np.arange(round(seconds * sample_rate)) / sample_rate
    detuned = frequency * 2 ** rng.uniform(-1 / 12, 1 / 12)
    pitch_T = detuned * 2 ** (sweep * (time_T / seconds - 0.5))
    phase_T = 2 * np.pi * (rng.uniform() + np.cumsum(pitch_T) / sample_rate)
    sound_T = sum(np.sin(k * phase_T) / k for k in (1, 2, 3)) / 2
    if tremolo:
        sound_T = sound_T * (0.5 + 0.5 * np.sin(2 * np.pi * (tremolo * time_T + rng.uniform())))
    sound_T = 0.5 * (sound_T + noise * rng.standard_normal(time_T.size))
    return np.clip(sound_T, -1, 1).astype(np.float32)


def texture(
    rng: np.random.Generator,
    *,
    size: int,
    angle: float,
    hue: float,
    cycles: float = 8.0,
    contrast: float = 0.1,
    tint: float = 0.1,
    noise: float = 0.3,
    colour_noise: float = 0.15,
) -> np.ndarray:
    """A weak striped pattern with a weak tint under strong noise.

    Use angles that a horizontal flip does not turn into one another (0, 45 and 90 degrees): training flips.

    Args:
        rng: draws the phase of the stripes and the noise.
        size: height and width in pixels.
        angle: direction of the stripes in degrees.
        hue: direction of the tint in the plane of colours, in degrees.
        cycles: stripes across the picture.
        contrast: amplitude of the stripes, of a range of 0 to 1.
        tint: amplitude of the tint.
        noise: standard deviation of the noise of single pixels.
        colour_noise: standard deviation of the tint's own noise, drawn once a picture. It does not average
            out over the pixels, so ``tint / colour_noise`` bounds what any network can see in the colour.

    Returns:
        (size, size, 3) uint8, RGB.
    """
    y_HW, x_HW = np.mgrid[0:size, 0:size] / size
    turn = np.deg2rad(angle)
    wave_HW = np.sin(2 * np.pi * (cycles * (np.cos(turn) * x_HW + np.sin(turn) * y_HW) + rng.uniform()))
    plane = np.array([[2, -1, -1], [0, 3**0.5, -(3**0.5)]]) / 6**0.5  # orthonormal, orthogonal to grey
    chroma = tint * np.array([np.cos(np.deg2rad(hue)), np.sin(np.deg2rad(hue))])
    colour = (chroma + colour_noise * rng.standard_normal(2)) @ plane
    picture_HWC = 0.5 + contrast * wave_HW[..., None] + colour + noise * rng.standard_normal((size, size, 3))
    return np.clip(255 * picture_HWC + 0.5, 0, 255).astype(np.uint8)
