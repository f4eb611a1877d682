@echo off
rem customize.py puts both paths into the environment of this process, past the script
rem that CM generates. The harness writes a report for customize.py; CM reads it only
rem after an exit status of 0.
"%CM_PYTHON_BIN_WITH_PATH%" "%LOADGEN_GENERIC_MAIN%" "%LOADGEN_GENERIC_REQUEST%"
for %%F in ("%LOADGEN_GENERIC_REQUEST%") do > "%%~dpFstatus" echo %errorlevel%
exit /b 0
