// Stands in for Flamenco Manager's job compiler: node flamenco_stand_in.js SCRIPT < JOB prints {job_type, tasks}.
// Names and checks are those of its author API as its documentation and schema state them; unknown use of it throws.
"use strict";
const fs = require("fs");
const vm = require("vm");

class Task {
    constructor(name, type) {
        if (!String(name).trim() || !String(type).trim()) throw new Error("author.Task(name, type): both are required");
        Object.assign(this, { name, type, commands: [], dependencies: [] });
        Object.seal(this);
    }
    addCommand(command) {
        if (!(command instanceof Command)) throw new Error("addCommand takes author.Command(...)");
        this.commands.push(command);
    }
    addDependency(task) {
        if (!(task instanceof Task)) throw new Error("addDependency takes author.Task(...)");
        this.dependencies.push(task);
    }
}

class Command {
    constructor(name, parameters) {
        Object.assign(this, { name, parameters });
    }
}

const submitted = JSON.parse(fs.readFileSync(0, "utf8"));
const tasks = [];
const job = {
    ...submitted,
    created: new Date(Date.UTC(2024, 4, 6, 7, 8, 9)),
    addTask(task) {
        if (task.dependencies.some((other) => !tasks.includes(other))) throw new Error("a dependency was not added before");
        tasks.push(task);
    },
};
const globals = {
    author: { Task: (name, type) => new Task(name, type), Command: (name, parameters) => new Command(name, parameters) },
    path: { join: (...parts) => parts.join("/") },
    formatTimestampLocal: (time) => time.toISOString().slice(0, 19).replace("T", "_").replaceAll(":", ""),
    print: () => {},
};
const script = fs.readFileSync(process.argv[2], "utf8") + "\n;({ JOB_TYPE, compileJob });";
const compiled = vm.runInNewContext(script, globals, { filename: process.argv[2] });
if (submitted.settings) compiled.compileJob(job);
process.stdout.write(JSON.stringify({
    job_type: compiled.JOB_TYPE,
    settings: job.settings,
    tasks: tasks.map((task) => ({
        name: task.name, type: task.type, commands: task.commands, dependencies: task.dependencies.map((other) => other.name),
    })),
}));
