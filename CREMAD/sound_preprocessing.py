"""Decode the sounds in AudioWAV/ once into wav_pkl/*.pkl, which the training reads instead (no decoding every epoch).

Besides wav, flac and ogg it takes what librosa reads: mp3, opus, aiff and au, and, where the program ffmpeg is
installed, m4a, aac and wma. Run it again after an interruption: files that are whole are kept.
"""

import argparse
import sys
from pathlib import Path

from bss.cli.flags import Parser, count, path
from bss.data.prepare import cremad
from bss.utils.errors import BssError
from bss.utils.processes import default_workers

if __name__ == "__main__":
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=path, default=Path(__file__).parent, help="default: this folder")
    parser.add_argument("--workers", type=count, default=default_workers(), help="processes; 0: only this one")
    parser.add_argument("--sample-rate", type=int, default=22050, help="Hz, as in the released code")
    parser.add_argument("--force", action="store_true", help="replace pickles that hold something else")
    args = parser.parse_args()
    try:
        failures = cremad.write_wav_pkl(
            args.data_root, sample_rate=args.sample_rate, workers=args.workers, force=args.force
        )
    except BssError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; run it again to go on where it stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(1 if failures else 0)
