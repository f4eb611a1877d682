#!/bin/bash
# customize.py puts both paths into the environment of this process, past the script
# that CM generates. The harness writes a report for customize.py; CM reads it only
# after an exit status of 0.
"${CM_PYTHON_BIN_WITH_PATH}" "${LOADGEN_GENERIC_MAIN}" "${LOADGEN_GENERIC_REQUEST}"
echo "$?" > "${LOADGEN_GENERIC_REQUEST%/*}/status"
exit 0
