"""Phase diagram: collapsed dimensions over noise and initial scale."""

from linsim.studies.phase_diagram import STUDY

if __name__ == "__main__":
    STUDY.main()
