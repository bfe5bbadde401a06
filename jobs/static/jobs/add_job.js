// Offers only the templates of the chosen service. Without it all are offered and a wrong pair is refused.
"use strict";
(() => {
  const service = document.getElementById("id_service");
  const template = document.getElementById("id_template");
  if (!service || !template) return;

  function narrow() {
    const chosen = service.value ? service.selectedOptions[0].text : "";
    for (const group of template.querySelectorAll("optgroup")) {
      group.disabled = group.hidden = Boolean(chosen) && group.label !== chosen;
    }
    if (template.selectedOptions[0]?.parentElement.disabled) template.value = "";
  }

  service.addEventListener("change", narrow);
  narrow();
})();
